"""What webhooks do to the tables, and what becomes known of it outside."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import boto3
import pytest

from freshness.app.apply_webhook import Webhook
from freshness.aws.event_bus import Bus
from freshness.aws.store import Store
from freshness.codat.webhook_parser import Malformed
from freshness.domain.company import Company, Connection, ConnectionStatus
from freshness.domain.dataset import Dataset, Trigger
from freshness.domain.feed import Feed, Request
from freshness.policy.policy import Policy
from tests import webhook_bodies as bodies

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy.model_validate({"default": {"fresh_within": "1 day"}})
ROW = Feed(company_id="company", data_type="invoices", connection_id="connection")


class Listener:
    """Hears what is published on a bus of its own."""

    def __init__(self) -> None:
        events, self._sqs = boto3.client("events"), boto3.client("sqs")
        name = f"bus-{uuid4().hex}"
        events.create_event_bus(Name=name)
        self.bus = Bus(events, name)
        self._queue_url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["QueueArn"])
        events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"source": ["codat-freshness"]}))
        events.put_targets(
            Rule=name, EventBusName=name, Targets=[{"Id": "queue", "Arn": attributes["Attributes"]["QueueArn"]}]
        )

    def heard(self) -> list[dict[str, Any]]:
        """The details of the events since the last call."""
        answer = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        return [json.loads(message["Body"])["detail"] for message in answer.get("Messages", [])]


@pytest.fixture
def listener(aws: None) -> Iterator[Listener]:
    yield Listener()


@pytest.fixture
def webhook(store: Store, listener: Listener) -> Webhook:
    connection = Connection(
        connection_id="connection",
        platform="Xero",
        source_type="Accounting",
        status=ConnectionStatus.LINKED,
        status_at=NOON - timedelta(days=1),
    )
    company = Company(company_id="company", connections={"connection": connection}, check_at=NOON + timedelta(days=1))
    store.change_company(Company(company_id="company"), lambda _: company)
    return Webhook(store=store, bus=listener.bus, policy=POLICY, clock=lambda: NOON)


def read_completed(
    at: datetime, *, status: str = "Complete", modified: bool = True, initial: bool = False, company_id: str = "company"
) -> str:
    read = {
        "connectionId": "connection",
        "dataType": "invoices",
        "recordsModified": modified,
        "status": status,
        "issues": [],
        "somethingNew": 1,
    }
    return json.dumps(
        {
            "id": "event",
            "eventType": "read.completed.initial" if initial else "read.completed",
            "generatedDate": at.strftime("%Y-%m-%dT%H:%M:%S.1234567Z"),
            "payload": {"referenceCompany": {"id": company_id, "name": "Company"}, "dataTypes": [read]},
        }
    )


def queued(store: Store, at: datetime = NOON) -> None:
    store.merge_dataset(
        Dataset(
            company_id="company",
            dataset_id="dataset",
            data_type="invoices",
            connection_id="connection",
            trigger=Trigger.PROMISE,
            requested_at=at,
            states={"Queued": at},
        )
    )
    request = Request(at=at, trigger=Trigger.PROMISE, dataset_id="dataset")
    store.change_feed(ROW, lambda feed: feed.requested(request))


def the_feed(store: Store) -> Feed:
    return store.feed("company", "invoices", "connection")


def test_a_read_that_completed_ends_the_dataset_in_flight_and_is_published(
    webhook: Webhook, store: Store, listener: Listener
) -> None:
    queued(store)

    webhook.apply("message", read_completed(NOON + MINUTE))

    feed = the_feed(store)
    ended_at = NOON + MINUTE + timedelta(microseconds=123456)
    assert feed.in_flight is None
    assert feed.succeeded_at == feed.changed_at == ended_at
    assert feed.due_at
    (dataset,) = store.datasets("company")
    assert (dataset.state, dataset.ended_at, dataset.records_modified) == ("Complete", ended_at, True)
    (event,) = listener.heard()
    assert event == {
        "id": "message/connection/invoices",
        "companyId": "company",
        "connectionId": "connection",
        "dataType": "invoices",
        "refreshedAt": "2026-11-23T12:01:00.123456Z",
        "recordsModified": True,
    }


def test_a_message_that_comes_again_changes_nothing_and_is_not_published_again(
    webhook: Webhook, store: Store, listener: Listener
) -> None:
    queued(store)
    webhook.apply("message", read_completed(NOON + MINUTE))
    listener.heard()
    feed = the_feed(store)

    webhook.apply("message", read_completed(NOON + MINUTE))

    assert the_feed(store) == feed
    assert listener.heard() == []


def test_a_read_that_failed_is_not_published_as_a_refresh(webhook: Webhook, store: Store, listener: Listener) -> None:
    queued(store)

    webhook.apply("message", read_completed(NOON + MINUTE, status="FetchError"))

    assert the_feed(store).is_failing
    assert listener.heard() == []


def test_the_first_read_after_linking_teaches_nothing_about_changes(webhook: Webhook, store: Store) -> None:
    webhook.apply("message", read_completed(NOON, modified=False, initial=True))

    assert the_feed(store).succeeded_at
    assert not the_feed(store).syncs


def test_the_end_of_an_earlier_read_leaves_the_dataset_in_flight(webhook: Webhook, store: Store) -> None:
    queued(store, at=NOON + 2 * MINUTE)

    webhook.apply("message", read_completed(NOON))

    assert the_feed(store).in_flight
    (dataset,) = store.datasets("company")
    assert dataset.state == "Queued"


def test_a_company_not_known_yet_becomes_due_for_a_check(webhook: Webhook, store: Store) -> None:
    webhook.apply("message", read_completed(NOON, company_id="stranger"))

    assert list(store.companies_due_for_check(NOON)) == ["stranger"]


def test_an_event_that_is_not_used_is_passed_over(webhook: Webhook) -> None:
    webhook.apply("message", json.dumps({"id": "e", "eventType": "new.kind", "generatedDate": "2026-11-23T12:00:00Z"}))


def test_a_message_that_cannot_be_read_is_not_taken_for_done(webhook: Webhook) -> None:
    with pytest.raises(Malformed):
        webhook.apply("message", '{"eventType": "read.completed"}')


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "1969-07-20T00:00:00Z"])
def test_a_time_that_codat_left_unset_is_not_taken_for_one(webhook: Webhook, at: str) -> None:
    with pytest.raises(Malformed, match="at generatedDate"):
        webhook.apply("message", json.dumps(json.loads(read_completed(NOON)) | {"generatedDate": at}))


def test_a_message_from_the_future_does_not_pass_for_the_latest_news(webhook: Webhook, store: Store) -> None:
    with pytest.raises(Malformed, match="yet to come"):
        webhook.apply("message", read_completed(NOON + timedelta(days=2)))

    assert the_feed(store).succeeded_at is None


def test_a_read_that_ended_long_after_it_was_asked_for_is_taken_in(webhook: Webhook, store: Store) -> None:
    queued(store, at=NOON - timedelta(days=60))

    webhook.apply("message", read_completed(NOON))

    assert the_feed(store).in_flight is None


def test_a_dataset_that_a_rule_tells_to_be_running_still_has_not_ended(webhook: Webhook, store: Store) -> None:
    queued(store)

    webhook.apply("message", bodies.rule("Data sync completed", "dataset", status="Fetching", company_id="company"))

    assert the_feed(store).in_flight


def test_an_error_that_a_rule_tells_without_a_state_is_no_refresh(
    webhook: Webhook, store: Store, listener: Listener
) -> None:
    queued(store)

    webhook.apply("message", bodies.rule("Data Sync Status Changed To Error", "dataset", company_id="company"))

    assert the_feed(store).is_failing
    assert listener.heard() == []


def test_data_written_is_written_no_later_than_it_was_told(webhook: Webhook, store: Store) -> None:
    told = json.loads(bodies.written(NOON, "invoices", company_id="company"))
    told["payload"]["completedOnDate"] = "9999-12-31T00:00:00Z"

    webhook.apply("message", json.dumps(told))

    written_at = the_feed(store).written_at
    assert written_at
    assert written_at - NOON < MINUTE


def test_a_lapsed_connection_is_told_with_what_was_known_of_it_where_the_webhook_leaves_it_out(
    webhook: Webhook, store: Store, listener: Listener
) -> None:
    linked = bodies.connection(NOON - MINUTE, "connected", "Linked", company_id="company")
    webhook.apply("linked", linked)

    lapsed = bodies.connection(NOON, "disconnected", "Deauthorized", company_id="company", in_full=False)
    webhook.apply("lapsed", lapsed)

    (event,) = listener.heard()
    assert (event["platform"], event["linkUrl"]) == ("Xero", "https://link.example/connection")
    assert event["id"] == "lapsed/connection/relink"
