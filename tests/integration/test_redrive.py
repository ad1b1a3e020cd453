"""Redriving dead letters that fail again at once."""

import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest.mock import Mock
from uuid import uuid4

import boto3
import pytest

from cli import redrive
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.domain.companies.company import Company
from freshness.domain.transitions.notifications import ConnectionBack
from simulate.loop import OPERATOR
from tests.builders import HOUR, NOON, a_connection, a_policy
from tests.services import services_of

POLICY = a_policy("1 day")


def test_a_redrive_ends_although_every_message_returns_to_the_dead_letter_queue_at_once(
    aws: None, tables: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"]
    for _ in range(25):
        sqs.send_message(QueueUrl=url, MessageBody="poison")
    # One queue is used as both, so that no message could return sooner.
    outputs = SimpleNamespace(webhook_queue_url=url, webhook_dead_letter_queue_url=url, notify_dead_letter_queue_url="")
    stack = SimpleNamespace(
        session=boto3.Session(),
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        outputs=outputs,
        services=services_of(tables, POLICY),
        actor=OPERATOR,
    )
    monkeypatch.setattr(redrive, "selected_stack", lambda _: stack)

    redrive.redrive(Mock(), as_json=True)

    assert 25 <= json.loads(capsys.readouterr().out)["moved"] < 50


def test_events_that_could_not_be_sent_are_published_again_as_they_were(
    aws: None, tables: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sqs = boto3.client("sqs")
    webhooks, events = (sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"] for _ in range(2))
    kept = ConnectionBack.of_connection(
        Company(company_id="company"),
        a_connection("1", NOON),
        NOON,
    )
    event = {"source": "codat-freshness", "detail-type": kept.detail_type, "detail": kept.detail()}
    sqs.send_message(
        QueueUrl=events,
        MessageBody=json.dumps(event),
        MessageAttributes={"ERROR_MESSAGE": {"DataType": "String", "StringValue": "the endpoint answered 503"}},
    )
    outputs = SimpleNamespace(
        webhook_queue_url=webhooks, webhook_dead_letter_queue_url=webhooks, notify_dead_letter_queue_url=events
    )
    bus = Mock()
    stack = SimpleNamespace(
        session=boto3.Session(),
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        outputs=outputs,
        services=services_of(tables, POLICY, bus=EventBus(bus, "bus")),
        actor=OPERATOR,
    )
    bus.put_events.return_value = {"FailedEntryCount": 0}
    monkeypatch.setattr(redrive, "selected_stack", lambda _: stack)

    redrive.redrive(Mock(), as_json=True)

    shown = json.loads(capsys.readouterr().out)
    assert (shown["published"], shown["publishedReasons"]) == (1, {"the endpoint answered 503": 1})
    operation, published = (call.kwargs["Entries"] for call in bus.put_events.call_args_list)
    assert [each["DetailType"] for each in operation] == ["Operation performed"]
    assert [each.operation for each in tables.audit.since(datetime.now(UTC) - HOUR, datetime.now(UTC))] == ["redrive"]
    [entry] = published
    assert (entry["DetailType"], json.loads(entry["Detail"])) == ("Connection back", kept.detail())
    assert sqs.receive_message(QueueUrl=events).get("Messages", []) == []
