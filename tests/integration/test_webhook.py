"""What webhooks do to the tables, and what becomes known of it outside."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from freshness.app.reading.queries import Queries
from freshness.app.record import Recorder
from freshness.app.webhooks import WebhookApplier
from freshness.aws.dynamodb.tables import Tables
from freshness.codat.webhooks.parser import MAX_ISSUES, Malformed
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import LONGEST_REASON, Issue, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Request
from freshness.domain.learned.change_rate import Observation
from tests import webhook_bodies as bodies
from tests.builders import MINUTE, NOON, a_connection, a_policy
from tests.integration.recording_bus import RecordingBus
from tests.services import services_of

POLICY = a_policy("1 day")
FEED = Feed(company_id="company", data_type="invoices", connection_id="connection")


class Listener(RecordingBus):
    """A bus that tells what was published."""

    def received(self) -> list[dict[str, Any]]:
        """Return the details of the events since the last call."""
        details = [each.detail() for each in self.published]
        self.published.clear()
        return details


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def webhook(tables: Tables, listener: Listener) -> WebhookApplier:
    connection = a_connection("connection", NOON - timedelta(days=1))
    company = Company(company_id="company", connections={"connection": connection}, check_at=NOON + timedelta(days=1))
    tables.companies.update(Company(company_id="company"), lambda _: company)
    recorder = Recorder(tables=tables, bus=listener, policy=POLICY, clock=lambda: NOON)
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


def test_some_issues_of_a_read_are_stored_with_its_dataset_and_explained(
    webhook: WebhookApplier, tables: Tables
) -> None:
    queued(tables)
    warning = {"type": "warning.validation", "message": "Something is wrong.", "links": {"portal": "https://x"}}
    long = {"type": "t", "message": "m" * 10_000}

    apply(webhook, read_completed(NOON + MINUTE, issues=[warning, 5, {"message": None}, *[long] * 25]))

    first, *others = tables.datasets.of_company("company")[0].issues
    assert first == Issue(type="warning.validation", message="Something is wrong.")
    assert len(others) == MAX_ISSUES - 1
    assert {len(issue.message) for issue in others} == {LONGEST_REASON}
    company = tables.companies.get("company")
    assert company
    [explanation] = Queries(services=services_of(tables, POLICY)).explain(company, "invoices", NOON + MINUTE)
    assert explanation.datasets[0].issues == (first, *others)


@pytest.mark.parametrize("issues", [None, "text", {"type": "warning"}, [None]])
def test_issues_that_cannot_be_read_do_not_keep_a_read_from_being_recorded(
    webhook: WebhookApplier, tables: Tables, issues: object
) -> None:
    queued(tables)

    apply(webhook, read_completed(NOON + MINUTE, issues=issues))

    (dataset,) = tables.datasets.of_company("company")
    assert (dataset.state, dataset.issues) == ("Complete", ())


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


def test_a_company_not_known_yet_becomes_due_for_a_check(webhook: WebhookApplier, tables: Tables) -> None:
    apply(webhook, read_completed(NOON, company_id="stranger"))

    assert list(tables.companies.due_for_check(NOON)) == ["stranger"]


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
