"""The function that applies webhooks, with messages that can be applied and messages that cannot."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

import apply_webhook
from freshness.app import services
from freshness.app.policy_in_force import PolicyInForce
from freshness.app.webhook_heartbeat import WEBHOOK_RECEIVED, WebhookHeartbeat
from freshness.aws.dynamodb.tables import Tables
from freshness.policy.compiled import compiled
from local.http_api import context
from tests import webhook_bodies as bodies
from tests.builders import NOON

GOOD = bodies.read_completed(NOON, ("connection", "invoices", "Complete"))


@pytest.fixture
def tables(stored_tables: Tables) -> Tables:
    return stored_tables


def message(body: str, message_id: str = "msg_1", receive_count: int = 1) -> dict[str, Any]:
    """A message as SQS hands it to the function."""
    return {
        "messageId": str(uuid4()),
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receive_count)},
        "messageAttributes": {"webhook-id": {"dataType": "String", "stringValue": message_id}},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue",
    }


def applied(*messages: dict[str, Any]) -> list[str]:
    """Apply a batch; the ids of the messages that go back to the queue."""
    response = apply_webhook.handler({"Records": list(messages)}, context(timedelta(seconds=30)))
    return [str(failure["itemIdentifier"]) for failure in response["batchItemFailures"]]


class DeadLetters:
    """The dead-letter queue."""

    def __init__(self) -> None:
        self._sqs = boto3.client("sqs")
        self.url = self._sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"]

    def reasons(self) -> dict[str, str]:
        """Why the messages lie there, by their webhook ids."""
        answer = self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        attributes = [message["MessageAttributes"] for message in answer.get("Messages", [])]
        return {given["webhook-id"]["StringValue"]: given["reason"]["StringValue"] for given in attributes}


@pytest.fixture
def dead_letters(tables: Tables, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DeadLetters]:
    """The function's surroundings; gives its dead-letter queue."""
    letters = DeadLetters()
    for name, value in {
        "COMPANIES_TABLE": tables.companies._table.name,
        "FEEDS_TABLE": tables.feeds._table.name,
        "DATASETS_TABLE": tables.datasets._table.name,
        "CONTROL_TABLE": tables.control._table.name,
        "EVENT_BUS": "default",
        "MAX_RECEIVE_COUNT": "5",
        "WEBHOOK_DEAD_LETTER_QUEUE_URL": letters.url,
    }.items():
        monkeypatch.setenv(name, value)
    cached = (services._tables, services._bus, apply_webhook._dead_letters)
    bundled = compiled(Path(__file__).parents[2] / "freshness.toml")
    in_force = PolicyInForce(tables.policies, lambda: bundled)
    monkeypatch.setattr(services, "_policy_in_force", lambda: in_force)
    for client in cached:
        client.cache_clear()
    yield letters
    for client in cached:
        client.cache_clear()


def test_a_message_that_is_not_as_codat_describes_it_does_not_keep_the_others_from_being_applied(
    tables: Tables, dead_letters: DeadLetters
) -> None:
    poison = message('{"eventType": "read.completed", "generatedDate": "2026-11-23T12:00:00Z"}', "poison")

    assert applied(poison, message(GOOD)) == []

    assert tables.feeds.get(bodies.COMPANY, "invoices", "connection").succeeded_at
    assert dead_letters.reasons() == {
        "poison": "not a webhook as Codat describes it: Field required at payload.referenceCompany.id"
    }


def test_of_a_message_with_a_read_that_cannot_be_read_the_others_are_applied_before_it_becomes_a_dead_letter(
    tables: Tables, dead_letters: DeadLetters
) -> None:
    event = json.loads(bodies.read_completed(NOON, *[("connection", f"type-{n}", "Complete") for n in range(21)]))
    del event["payload"]["dataTypes"][3]["connectionId"]

    assert applied(message(json.dumps(event), "partly")) == []

    read = {feed.data_type for feed in tables.feeds.of_company(bodies.COMPANY) if feed.succeeded_at}
    assert read == {f"type-{n}" for n in range(21)} - {"type-3"}
    [reason] = dead_letters.reasons().values()
    assert reason.startswith("1 of 21 reads are not as Codat describes them")


@pytest.mark.parametrize("body", ["not JSON", "[]", "{}", "null", '{"eventType": 5}', '{"a": ' * 1000])
def test_what_is_no_webhook_at_all_becomes_a_dead_letter_at_once(dead_letters: DeadLetters, body: str) -> None:
    assert applied(message(body, "poison")) == []
    assert set(dead_letters.reasons()) == {"poison"}


def test_a_message_that_cannot_be_applied_now_returns_alone_and_is_finally_a_dead_letter_with_its_reason(
    tables: Tables, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamodb = boto3.client("dynamodb")
    dynamodb.delete_table(TableName=tables.datasets._table.name)
    dynamodb.delete_table(TableName=tables.feeds._table.name)
    passed_over, failing = message(bodies.event("expenses.sync.successful", NOON, {}), "fine"), message(GOOD, "failing")

    assert applied(passed_over, failing) == [failing["messageId"]]
    assert dead_letters.reasons() == {}

    assert applied(message(GOOD, "failing", receive_count=5)) == []
    reasons = dead_letters.reasons()
    assert set(reasons) == {"failing"}
    assert "ResourceNotFoundException" in reasons["failing"]


def test_an_unexpected_failure_returns_too_and_is_finally_a_dead_letter_with_its_reason(
    tables: Tables, dead_letters: DeadLetters
) -> None:
    feed = {"company_id": bodies.COMPANY, "feed": "invoices#connection", "attempts": "of another version"}
    boto3.client("dynamodb").put_item(
        TableName=tables.feeds._table.name, Item={name: {"S": value} for name, value in feed.items()}
    )
    failing = message(GOOD, "failing")

    assert applied(failing, message(bodies.read_completed(NOON, ("connection", "bills", "Complete")), "fine")) == [
        failing["messageId"]
    ]
    assert tables.feeds.get(bodies.COMPANY, "bills", "connection").succeeded_at
    assert dead_letters.reasons() == {}

    assert applied(message(GOOD, "failing", receive_count=5)) == []
    assert "ValidationError" in dead_letters.reasons()["failing"]


def test_that_webhooks_arrive_is_recorded(
    tables: Tables, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_webhook, "_heartbeat", WebhookHeartbeat())

    applied(message(GOOD))

    assert tables.control.last_done(WEBHOOK_RECEIVED)
