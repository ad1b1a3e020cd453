"""What webhooks do to the tables, and what becomes known of it outside."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import boto3
import pytest

from freshness.app.reading.queries import Queries
from freshness.app.record import Recorder
from freshness.app.webhooks import WebhookApplier
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.codat.webhooks.parser import MAX_ISSUES, Malformed
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import LONGEST_REASON, Issue, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Request
from freshness.domain.learned.change_rate import Observation
from freshness.policy.policy import Policy
from tests import webhook_bodies as bodies
from tests.builders import a_connection
from tests.services import services_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy.model_validate({"default": {"fresh_within": "1 day"}})
FEED = Feed(company_id="company", data_type="invoices", connection_id="connection")


class Listener:
    """Hears what is published on a bus of its own."""

    def __init__(self) -> None:
        events, self._sqs = boto3.client("events"), boto3.client("sqs")
        name = f"bus-{uuid4().hex}"
        events.create_event_bus(Name=name)
        self.bus = EventBus(events, name)
        self._queue_url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["QueueArn"])
        events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"source": ["codat-freshness"]}))
        events.put_targets(
            Rule=name, EventBusName=name, Targets=[{"Id": "queue", "Arn": attributes["Attributes"]["QueueArn"]}]
        )

    def received(self) -> list[dict[str, Any]]:
        """The details of the events since the last call."""
        answer = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        return [json.loads(message["Body"])["detail"] for message in answer.get("Messages", [])]


@pytest.fixture
def listener(aws: None) -> Iterator[Listener]:
    yield Listener()


@pytest.fixture
def webhook(tables: Tables, listener: Listener) -> WebhookApplier:
    connection = a_connection("connection", NOON - timedelta(days=1))
    company = Company(company_id="company", connections={"connection": connection}, check_at=NOON + timedelta(days=1))
    tables.companies.update(Company(company_id="company"), lambda _: company)
    recorder = Recorder(tables=tables, bus=listener.bus, policy=POLICY, clock=lambda: NOON)
    return WebhookApplier(tables=tables, recorder=recorder, clock=lambda: NOON)


def apply(webhook: WebhookApplier, body: str, received_at: datetime = NOON) -> None:
    webhook.record(webhook.parse(body, received_at))


def read_completed(
    at: datetime,
    *,
    status: str = "Complete",
    modified: bool = True,
    initial: bool = False,
    company_id: str = "company",
    issues: object = (),
) -> str:
    read = {
        "connectionId": "connection",
        "dataType": "invoices",
        "recordsModified": modified,
        "status": status,
        "issues": issues,
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


def queued(tables: Tables, at: datetime = NOON) -> None:
    request = Request(at=at, trigger=Trigger.PROMISE, dataset_id="dataset")
    tables.feeds.update(FEED, lambda feed: feed.requested(request))


def the_feed(tables: Tables) -> Feed:
    return tables.feeds.get("company", "invoices", "connection")


def test_a_read_that_completed_ends_the_dataset_in_flight_and_is_published(
    webhook: WebhookApplier, tables: Tables, listener: Listener
) -> None:
    queued(tables)

    apply(webhook, read_completed(NOON + MINUTE))

    feed = the_feed(tables)
    ended_at = NOON + MINUTE + timedelta(microseconds=123456)
    assert feed.in_flight is None
    assert feed.succeeded_at == ended_at
    assert feed.due_at
    (dataset,) = tables.datasets.of_company("company")
    assert (dataset.state, dataset.ended_at, dataset.records_modified) == ("Complete", ended_at, True)
    (event,) = listener.received()
    assert event == {
        "version": 1,
        "companyName": "",
        "tags": {},
        "platform": "Xero",
        "integrationKey": "",
        "status": "Linked",
        "reason": "",
        "modifiedFromDate": None,
        "id": "connection/invoices/2026-11-23T12:01:00.123456Z",
        "datasetId": "dataset",
        "companyId": "company",
        "connectionId": "connection",
        "dataType": "invoices",
        "refreshedAt": "2026-11-23T12:01:00.123456Z",
        "asOf": "2026-11-23T12:00:00.000000Z",
        "asOfIsEstimated": False,
        "recordsModified": True,
        "trigger": "promise",
    }


def test_the_issues_of_a_read_are_stored_with_its_dataset_and_explained(
    webhook: WebhookApplier, tables: Tables
) -> None:
    queued(tables)
    warning = {"type": "warning.validation", "message": "Something is wrong.", "links": {"portal": "https://x"}}

    apply(webhook, read_completed(NOON + MINUTE, issues=[warning, 5, {"message": None}]))

    expected = (Issue(type="warning.validation", message="Something is wrong."),)
    (dataset,) = tables.datasets.of_company("company")
    assert dataset.issues == expected
    company = tables.companies.get("company")
    assert company
    [explanation] = Queries(services=services_of(tables, POLICY)).explain(company, "invoices", NOON + MINUTE)
    assert explanation.datasets[0].issues == expected


@pytest.mark.parametrize("issues", [None, "text", {"type": "warning"}, [None]])
def test_issues_that_cannot_be_read_do_not_keep_a_read_from_being_recorded(
    webhook: WebhookApplier, tables: Tables, issues: object
) -> None:
    queued(tables)

    apply(webhook, read_completed(NOON + MINUTE, issues=issues))

    (dataset,) = tables.datasets.of_company("company")
    assert (dataset.state, dataset.issues) == ("Complete", ())


def test_the_issues_that_are_stored_are_limited(webhook: WebhookApplier, tables: Tables) -> None:
    queued(tables)

    apply(webhook, read_completed(NOON + MINUTE, issues=[{"type": "t", "message": "m" * 10_000}] * 25))

    (dataset,) = tables.datasets.of_company("company")
    assert len(dataset.issues) == MAX_ISSUES
    assert {len(issue.message) for issue in dataset.issues} == {LONGEST_REASON}


def test_a_repeated_message_changes_nothing_and_is_not_published_again(
    webhook: WebhookApplier, tables: Tables, listener: Listener
) -> None:
    queued(tables)
    apply(webhook, read_completed(NOON + MINUTE))
    listener.received()
    feed = the_feed(tables)

    apply(webhook, read_completed(NOON + MINUTE))

    assert the_feed(tables) == feed
    assert listener.received() == []


def test_a_read_that_failed_is_not_published_as_a_refresh(
    webhook: WebhookApplier, tables: Tables, listener: Listener
) -> None:
    queued(tables)

    apply(webhook, read_completed(NOON + MINUTE, status="FetchError"))

    assert the_feed(tables).is_failing
    assert listener.received() == []


def test_the_first_read_after_linking_teaches_nothing_about_changes(webhook: WebhookApplier, tables: Tables) -> None:
    apply(webhook, read_completed(NOON, modified=False, initial=True))

    assert the_feed(tables).succeeded_at
    assert list(the_feed(tables).history.observations()) == []

    apply(webhook, read_completed(NOON + timedelta(hours=12)), received_at=NOON + timedelta(hours=12))

    assert list(the_feed(tables).history.observations()) == [Observation(0.5, True)]


def test_of_the_first_read_it_is_unknown_whether_records_were_modified_in_whatever_form_it_is_reported(
    webhook: WebhookApplier, listener: Listener
) -> None:
    """Codat always reports false of it, and the plain form does not say that it is the first."""
    apply(webhook, read_completed(NOON, modified=False))
    apply(webhook, read_completed(NOON, modified=False, initial=True))
    apply(webhook, read_completed(NOON + 60 * MINUTE, modified=False), received_at=NOON + 60 * MINUTE)

    assert [event["recordsModified"] for event in listener.received()] == [None, False]


def test_the_end_of_an_earlier_read_leaves_the_dataset_in_flight(webhook: WebhookApplier, tables: Tables) -> None:
    queued(tables, at=NOON + 2 * MINUTE)

    apply(webhook, read_completed(NOON))

    assert the_feed(tables).in_flight
    assert tables.datasets.of_company("company") == []


def test_a_company_not_known_yet_becomes_due_for_a_check(webhook: WebhookApplier, tables: Tables) -> None:
    apply(webhook, read_completed(NOON, company_id="stranger"))

    assert list(tables.companies.due_for_check(NOON)) == ["stranger"]


def test_an_event_that_is_not_used_is_ignored(webhook: WebhookApplier) -> None:
    apply(webhook, json.dumps({"id": "e", "eventType": "new.kind", "generatedDate": "2026-11-23T12:00:00Z"}))


def test_a_message_that_cannot_be_parsed_is_malformed(webhook: WebhookApplier) -> None:
    with pytest.raises(Malformed):
        apply(webhook, '{"eventType": "read.completed"}')


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "1969-07-20T00:00:00Z"])
def test_a_time_that_codat_left_unset_is_malformed(webhook: WebhookApplier, at: str) -> None:
    with pytest.raises(Malformed, match="at generatedDate"):
        apply(webhook, json.dumps(json.loads(read_completed(NOON)) | {"generatedDate": at}))


def test_a_read_that_ended_long_after_its_request_is_recorded(webhook: WebhookApplier, tables: Tables) -> None:
    queued(tables, at=NOON - timedelta(days=60))

    apply(webhook, read_completed(NOON))

    assert the_feed(tables).in_flight is None


def test_a_dataset_that_still_runs_according_to_a_rule_has_not_ended(webhook: WebhookApplier, tables: Tables) -> None:
    queued(tables)

    apply(webhook, bodies.rule("Data sync completed", "dataset", status="Fetching", company_id="company"))

    assert the_feed(tables).in_flight


def test_an_error_of_a_rule_without_a_state_is_no_refresh(
    webhook: WebhookApplier, tables: Tables, listener: Listener
) -> None:
    queued(tables)

    apply(webhook, bodies.rule("Data Sync Status Changed To Error", "dataset", company_id="company"))

    assert the_feed(tables).is_failing
    assert listener.received() == []


def test_data_is_written_no_later_than_the_webhook_was_generated(webhook: WebhookApplier, tables: Tables) -> None:
    written = json.loads(bodies.written(NOON, "invoices", company_id="company"))
    written["payload"]["completedOnDate"] = "9999-12-31T00:00:00Z"

    apply(webhook, json.dumps(written))

    written_at = the_feed(tables).written_at
    assert written_at
    assert written_at - NOON < MINUTE


def test_a_lapsed_connection_is_published_with_what_was_known_of_it_where_the_webhook_leaves_it_out(
    webhook: WebhookApplier, tables: Tables, listener: Listener
) -> None:
    linked = bodies.connection(NOON - MINUTE, "connected", "Linked", company_id="company")
    apply(webhook, linked)

    lapsed = bodies.connection(NOON, "disconnected", "Deauthorized", company_id="company", in_full=False)
    apply(webhook, lapsed)

    (event,) = listener.received()
    assert (event["platform"], event["linkUrl"]) == ("Xero", "https://link.example/connection")
    assert event["linkUrlReadAt"] == "2026-11-23T11:59:00.000000Z"
    assert event["id"] == "connection/relink/2026-11-23T12:00:00.000000Z"
