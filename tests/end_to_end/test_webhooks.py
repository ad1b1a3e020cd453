"""Many webhooks at once through the deployed stack."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest

from bench.webhooks import FEEDS, MESSAGES, Sender
from local.stack import RunningStack
from local.watch import nudged
from tests.end_to_end.conftest import dead_letters, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def sender(stack: RunningStack) -> Iterator[Sender]:
    """A sender of webhooks about a company that the stack knows."""
    with nudged(stack.target):
        known = Sender(stack)
    with known as sender:
        yield sender


def test_a_thousand_webhooks_a_tenth_of_them_doubled_are_acknowledged_and_applied_once(
    stack: RunningStack, sender: Sender, domain_events: "tuple[SQSClient, str]"
) -> None:
    messages = sender.messages(MESSAGES)

    answers = sender.send_all(messages)

    assert set(answers) == {httpx.codes.ACCEPTED}
    wait_for(lambda: sender.has_applied(messages), seconds=120)
    feeds = sender.feeds()
    assert len(feeds) == FEEDS
    assert {feed.version for feed in feeds} == {MESSAGES // FEEDS}
    told = {f"{message.id}/{feed.connection_id}/{message.data_type}" for message in messages for feed in feeds[:1]}
    heard: set[str] = set()

    def is_all_heard() -> bool:
        heard.update(_heard(*domain_events))
        return told <= heard

    wait_for(is_all_heard, seconds=60)
    assert dead_letters(stack) == "0"


def test_a_webhook_that_cannot_be_read_rests_in_the_dead_letter_queue_with_its_reason(
    stack: RunningStack, sender: Sender
) -> None:
    sqs = boto3.client("sqs")
    sqs.send_message(
        QueueUrl=stack.outputs.webhook_queue_url,
        MessageBody='{"eventType": "read.completed"}',
        MessageAttributes={"webhook-id": {"DataType": "String", "StringValue": "msg_unreadable"}},
    )

    def rests() -> str | None:
        answer = sqs.receive_message(
            QueueUrl=stack.outputs.webhook_dead_letter_queue_url, MessageAttributeNames=["All"], WaitTimeSeconds=1
        )
        for message in answer.get("Messages", []):
            sqs.delete_message(
                QueueUrl=stack.outputs.webhook_dead_letter_queue_url, ReceiptHandle=message["ReceiptHandle"]
            )
            return message["MessageAttributes"]["reason"]["StringValue"]
        return None

    assert "generatedDate" in wait_for(rests, seconds=60)


def _heard(sqs: "SQSClient", url: str) -> set[str]:
    heard = set()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        heard |= {json.loads(message["Body"])["detail"]["id"] for message in messages}
        sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages],
        )
    return heard
