"""Many webhooks at once through the deployed stack."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest

from bench.webhooks import FEEDS, MESSAGES, Sender
from deployed.stack import clock
from freshness.domain.feed import Feed
from freshness.domain.times import sortable
from local.stack import RunningStack
from local.watch import running_ticks
from tests.end_to_end.conftest import dead_letters, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def sender(stack: RunningStack) -> Iterator[Sender]:
    """A sender of webhooks about a company of the stack."""
    with running_ticks(stack.deployed):
        waited = Sender(stack)
    with waited as sender:
        yield sender


def test_a_thousand_webhooks_a_tenth_of_them_sent_twice_are_accepted_and_applied_once(
    stack: RunningStack, sender: Sender, domain_events: "tuple[SQSClient, str]"
) -> None:
    messages = sender.messages(MESSAGES)

    statuses = sender.send_all(messages)

    assert set(statuses) == {httpx.codes.ACCEPTED}
    wait_for(lambda: sender.has_applied(messages), seconds=120)
    feeds = sender.feeds()
    assert len(feeds) == FEEDS
    assert {feed.version for feed in feeds} == {MESSAGES // FEEDS}
    connection_id = feeds[0].connection_id
    published = {f"{connection_id}/{message.data_type}/{sortable(message.ended_at)}" for message in messages}
    received: set[str] = set()

    def are_all_received() -> bool:
        received.update(detail["id"] for detail in _received(*domain_events))
        return published <= received

    assert len(published) == MESSAGES
    wait_for(are_all_received, seconds=60)
    assert dead_letters(stack) == "0"


@pytest.fixture
def endpoint_for_everything(stack: RunningStack) -> Iterator[httpx.Client]:
    """A client of the sandbox, where the stack's URL is registered again, for all event types that there are."""
    key = b64encode(stack.codat.api_key.encode()).decode()
    with httpx.Client(base_url=stack.codat.base_url, headers={"Authorization": f"Basic {key}"}) as codat:
        created = codat.post("/webhooks", json={"url": stack.outputs.webhook_url, "eventTypes": []})
        yield codat
        codat.delete(f"/webhooks/{created.raise_for_status().json()['id']}").raise_for_status()


def test_a_read_that_codat_reports_in_all_its_forms_is_published_once(
    stack: RunningStack, endpoint_for_everything: httpx.Client, domain_events: "tuple[SQSClient, str]"
) -> None:
    codat = endpoint_for_everything
    company_id = codat.post("/sandbox/companies", json={"platforms": ["Plaid"]}).raise_for_status().json()["id"]

    def known() -> list[Feed]:
        return [feed for feed in stack.tables.feeds.of_company(company_id) if feed.succeeded_at and not feed.in_flight]

    data_type = wait_for(known, seconds=240)[0].data_type
    sent = len(_reads(codat))
    refresh = {"dataType": data_type}
    wait_for(lambda: codat.post(f"/sandbox/companies/{company_id}/refresh", json=refresh).is_success, seconds=60)
    requested_at = clock()
    forms = Counter({"read.completed": 2, "read.completed.successful": 1})
    wait_for(lambda: Counter(_reads(codat)[sent:]) >= forms, seconds=60)

    refreshed: list[dict[str, str]] = []

    def is_published() -> bool:
        refreshed.extend(
            detail
            for detail in _received(*domain_events)
            if (detail["companyId"], detail["dataType"]) == (company_id, data_type)
            and datetime.fromisoformat(detail["refreshedAt"]) >= requested_at
        )
        return bool(refreshed)

    wait_for(is_published, seconds=120)
    wait_for(lambda: _is_empty(stack.outputs.webhook_queue_url), seconds=60)
    is_published()
    assert len(refreshed) == 1


def _reads(codat: httpx.Client) -> list[str]:
    """Return the event type of each webhook about reads that was delivered, by the sandbox's record."""
    attempts = codat.get("/sandbox/webhooks/attempts").json()
    reads = [each for each in attempts if "read.completed" in each["eventType"]]
    return [each["eventType"] for each in reads if each["outcome"] == str(httpx.codes.ACCEPTED.value)]


def _is_empty(queue_url: str) -> bool:
    response = boto3.client("sqs").get_queue_attributes(
        QueueUrl=queue_url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )
    return set(response["Attributes"].values()) == {"0"}


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

    assert "generatedDate" in wait_for(reason, seconds=60)


def _received(sqs: "SQSClient", url: str) -> list[dict[str, str]]:
    """Return the details of the events in a queue, and delete them there."""
    received = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        received += [json.loads(message["Body"])["detail"] for message in messages]
        sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages],
        )
    return received
