"""Many webhooks at once through the deployed stack."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest

from bench.webhooks import FEEDS, Sender
from freshness.domain.times import sortable
from local.stack import RunningStack
from local.watch import running_ticks
from tests.end_to_end.conftest import dead_letters, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MESSAGES = 2 * FEEDS


@pytest.fixture
def sender(stack: RunningStack) -> Iterator[Sender]:
    """A sender of webhooks about a company of the stack."""
    with running_ticks(stack.deployed):
        waited = Sender(stack)
    with waited as sender:
        yield sender


def test_hundreds_of_webhooks_a_tenth_of_them_sent_twice_are_accepted_and_applied_once(
    stack: RunningStack, sender: Sender, domain_events: "tuple[SQSClient, str]"
) -> None:
    messages = sender.messages(MESSAGES)

    statuses = sender.send_all(messages, at_once=4)

    assert set(statuses) == {httpx.codes.ACCEPTED}
    wait_for(lambda: sender.has_applied(messages))
    feeds = sender.feeds()
    assert len(feeds) == FEEDS
    assert {feed.version for feed in feeds} == {MESSAGES // FEEDS}
    connection_id = feeds[0].connection_id
    published = {f"{connection_id}/{message.data_type}/{sortable(message.ended_at)}" for message in messages}
    received: set[str] = set()

    def are_all_received() -> bool:
        received.update(_received_ids(*domain_events))
        return published <= received

    assert len(published) == MESSAGES
    wait_for(are_all_received)
    assert dead_letters(stack) == "0"


def test_a_malformed_webhook_arrives_in_the_dead_letter_queue_with_its_reason(
    stack: RunningStack, sender: Sender
) -> None:
    sqs = boto3.client("sqs")
    sqs.send_message(
        QueueUrl=stack.outputs.webhook_queue_url,
        MessageBody='{"eventType": "read.completed"}',
        MessageAttributes={"webhook-id": {"DataType": "String", "StringValue": "msg_unreadable"}},
    )

    def reason() -> str | None:
        response = sqs.receive_message(
            QueueUrl=stack.outputs.webhook_dead_letter_queue_url, MessageAttributeNames=["All"], WaitTimeSeconds=1
        )
        for message in response.get("Messages", []):
            sqs.delete_message(
                QueueUrl=stack.outputs.webhook_dead_letter_queue_url, ReceiptHandle=message["ReceiptHandle"]
            )
            return message["MessageAttributes"]["reason"]["StringValue"]
        return None

    assert "generatedDate" in wait_for(reason)


def _received_ids(sqs: "SQSClient", url: str) -> set[str]:
    """Return the ids of the events in a queue, and delete them there."""
    received = set()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        received |= {json.loads(message["Body"])["detail"]["id"] for message in messages}
        sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages],
        )
    return received
