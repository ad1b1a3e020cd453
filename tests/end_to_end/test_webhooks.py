"""Many webhooks at once through the deployed stack, signed and sent as Codat does."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import boto3
import httpx
import pytest
from standardwebhooks import Webhook

from freshness.domain.feeds.feed import Feed
from freshness.domain.times import sortable
from local.stack import RunningStack
from local.watch import running_ticks
from tests.end_to_end.conftest import dead_letters, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

DOUBLED = 0.1
"""The share of messages that are sent twice."""
FEEDS = 100
TIMEOUT = 60.0
"""Seconds. Longer than Codat waits, because the local AWS starts several functions at once on few processors."""
ATTEMPTS = 10
"""How often a message is sent at most. It may not be accepted because its function started too late."""
MESSAGES = 2 * FEEDS


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook for the end of one read."""

    id: str
    event_id: str
    data_type: str
    ended_at: datetime


class Sender:
    """Sends webhooks about one company to a deployed stack, signed as Codat signs them."""

    def __init__(self, stack: RunningStack) -> None:
        """Wait until the stack has a company with a linked accounting connection."""
        self._url, self._secret = stack.outputs.webhook_url, stack.codat.signing_secret
        self._run = uuid4().hex[:8]
        self._tables = stack.tables
        self._http = httpx.Client(timeout=TIMEOUT)
        self.company_id, self._connection_id = self._linked_company()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _linked_company(self) -> tuple[str, str]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for company in self._tables.companies.scan():
                for connection in company.connections.values():
                    if connection.is_linked and connection.source_type == "Accounting":
                        return company.company_id, connection.connection_id
            time.sleep(0.5)
        raise TimeoutError("expected a company with a linked accounting connection within two minutes")

    def messages(self, number: int) -> list[Message]:
        """Return messages about `FEEDS` new feeds. Messages about the same feed have different times."""
        now = datetime.now(UTC).replace(microsecond=0)
        return [
            Message(
                id=f"msg_{self._run}_{index}",
                event_id=str(uuid4()),
                data_type=f"measured-{self._run}-{index % FEEDS}",
                ended_at=now - timedelta(seconds=2 * ((number - index) // FEEDS)),
            )
            for index in range(number)
        ]

    def send(self, message: Message) -> int:
        """Send a message, and send it again after a server error, as Codat does. Return the last response's status."""
        for _ in range(ATTEMPTS):
            if (status := self._send_once(message)) < httpx.codes.INTERNAL_SERVER_ERROR:
                break
        return status

    def _send_once(self, message: Message) -> int:
        read = {"connectionId": self._connection_id, "dataType": message.data_type, "recordsModified": True}
        body = json.dumps(
            {
                "id": message.event_id,
                "eventType": "read.completed",
                "generatedDate": message.ended_at.isoformat(),
                "payload": {"referenceCompany": {"id": self.company_id}, "dataTypes": [read | {"status": "Complete"}]},
            }
        )
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self._secret).sign(message.id, now, body),
        }
        try:
            return self._http.post(self._url, content=body, headers=headers).status_code
        except httpx.TimeoutException:
            return httpx.codes.GATEWAY_TIMEOUT

    def send_all(self, messages: list[Message], at_once: int) -> Counter[int]:
        """Send messages, some of them twice, in random order, several at once. Return how many had each last status."""
        random = Random(self._run)
        sent = messages + random.sample(messages, round(len(messages) * DOUBLED))
        random.shuffle(sent)
        with ThreadPoolExecutor(at_once) as senders:
            return Counter(senders.map(self.send, sent))

    def feeds(self) -> list[Feed]:
        """Return the feeds that this sender's messages are about."""
        feeds = self._tables.feeds.of_company(self.company_id)
        return [feed for feed in feeds if feed.data_type.startswith(f"measured-{self._run}-")]

    def has_applied(self, messages: list[Message]) -> bool:
        """Return whether the feeds' history has the ends of all messages."""
        feeds = self._tables.feeds.of_company(self.company_id)
        applied = {(feed.data_type, sync.ended_at) for feed in feeds for sync in feed.history}
        return all((message.data_type, message.ended_at) in applied for message in messages)


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
            QueueUrl=url, Entries=[{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
        )
    return received
