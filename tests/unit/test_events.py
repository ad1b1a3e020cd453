"""Events: their schemas, and what they carry so that one can act on them. Simulations check all that they publish."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import Mock

import jsonschema  # type: ignore[import-untyped]
import pytest

from estimate.memory_dynamodb import tables_in_memory
from freshness.aws.event_bus import EventBus
from freshness.domain.companies.company import Company, ConnectionStatus
from freshness.domain.companies.company_facts import CompanyFact, ConnectionChanged, ReadsEnded
from freshness.domain.datasets.dataset import DatasetState, Issue, Trigger
from freshness.domain.feeds.facts import DatasetRequested, FeedFact, PromiseReviewed, ReadEnded
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.freshness_request import FreshnessRequest
from freshness.domain.times import sortable
from freshness.domain.transitions.notifications import KINDS, Notification, request_ended
from infra.event_schemas import FOLDER, file_of, text_of
from tests.builders import HOUR, NOON, a_connection, a_policy, a_read
from tests.integration.recording_bus import RecordingBus
from tests.services import services_of

POLICY = a_policy("6 hours")
XERO = a_connection("xero", NOON - 30 * HOUR, integration_key="gbol", link_url="https://link.example/xero")
TOFT = Company(
    company_id="toft",
    name="Toft stores",
    tags={"plan": "gold"},
    connections={"xero": XERO},
    feeds={"xero": ("bills", "invoices")},
)
WHO = {"companyId": "toft", "companyName": "Toft stores", "tags": {"plan": "gold"}}
WHERE = {"connectionId": "xero", "platform": "Xero", "integrationKey": "gbol", "status": "Linked"}


class World:
    """Tables in memory with one company, and a bus that records."""

    def __init__(self) -> None:
        self.tables = tables_in_memory()
        self.bus, self.now = RecordingBus(), NOON
        self.tables.companies.put(TOFT)

    def record(self, *facts: FeedFact) -> list[dict[str, Any]]:
        """Record facts on the company's invoices, and return what was published."""
        before = len(self.bus.published)
        recorder = services_of(self.tables, POLICY, bus=self.bus, clock=lambda: self.now).recorder
        feed = Feed(company_id="toft", data_type="invoices", connection_id="xero")
        recorder.record_feed(feed, self.company, *facts)
        return [each.detail() for each in self.bus.published[before:]]

    def record_company(self, fact: CompanyFact) -> list[dict[str, Any]]:
        """Record a fact on the company, and return what was published."""
        before = len(self.bus.published)
        recorder = services_of(self.tables, POLICY, bus=self.bus, clock=lambda: self.now).recorder
        recorder.record_company(self.company, fact)
        return [each.detail() for each in self.bus.published[before:]]

    @property
    def company(self) -> Company:
        """The company as it is stored."""
        known = self.tables.companies.get("toft")
        assert known
        return known


def ended(at: datetime, state: str, reason: str = "", **given: Any) -> ReadEnded:
    issues = (Issue(type="error", message=reason),) if reason else ()
    return a_read(at, state, company_id="toft", connection_id="xero", issues=issues, reason=reason, **given)


def test_a_refresh_says_whose_it_is_by_which_platform_and_from_when_on_records_changed() -> None:
    world = World()
    requested = DatasetRequested(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset")
    [event] = world.record(requested, ended(NOON + HOUR, "Complete", modified_from=NOON - HOUR))
    assert event.items() >= {**WHO, **WHERE, "dataType": "invoices", "datasetId": "dataset", "reason": ""}.items()
    assert (event["version"], event["modifiedFromDate"]) == (1, sortable(NOON - HOUR))


def test_a_broken_promise_says_why_in_codats_words_and_of_which_dataset() -> None:
    world = World()
    requested = DatasetRequested(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset")
    world.record(requested, ended(NOON + HOUR, DatasetState.FETCH_ERROR, "Sage is \x1b[2Jdown. " + "x" * 400))
    world.now = NOON + 60 * HOUR

    [event] = world.record(PromiseReviewed())

    assert event.items() >= {**WHO, **WHERE, "datasetId": "dataset", "state": "failing", "refreshedAt": None}.items()
    assert event["reason"].startswith("Sage is \N{REPLACEMENT CHARACTER}[2Jdown. xx")
    assert len(event["reason"]) == 300


def test_who_is_asked_to_relink_learns_whom_to_ask_why_since_when_by_which_link_and_what_waits() -> None:
    world = World()
    lapsed = replace(XERO, status=ConnectionStatus.DEAUTHORIZED, status_at=NOON, reason="The customer revoked access")

    [event] = world.record_company(ConnectionChanged(company_id="toft", connection=lapsed))

    assert event == {
        **WHO,
        **WHERE,
        "version": 1,
        "id": f"xero/relink/{sortable(NOON)}",
        "status": "Deauthorized",
        "reason": "The customer revoked access",
        "since": sortable(NOON),
        "linkUrl": "https://link.example/xero",
        "linkUrlReadAt": sortable(NOON),
        "dataTypes": ["bills", "invoices"],
    }


def test_reads_that_are_refused_again_say_why_they_were() -> None:
    world = World()
    refused = ReadsEnded(refused={"xero": (NOON, NOON + HOUR)}, reasons={"xero": "Token expired"})
    [event] = world.record_company(refused)
    assert (event["reason"], event["status"], event["since"]) == ("Token expired", "Linked", sortable(NOON))


def test_a_refresh_through_a_connection_that_is_not_known_yet_is_published_without_its_platform() -> None:
    world = World()
    world.tables.companies.put(replace(world.company, connections={}))
    [event] = world.record(ended(NOON, "Complete"))
    assert (event["connectionId"], event["platform"], event["status"]) == ("xero", "", "")
    assert event["companyName"] == "Toft stores"


def test_the_end_of_a_request_says_by_which_platform_each_data_type_is_read() -> None:
    request = FreshnessRequest(
        request_id="r", company_id="toft", data_types=("invoices",), not_before=NOON, deadline=NOON, accepted_at=NOON
    )
    feed = Feed(company_id="toft", data_type="invoices", connection_id="xero")

    event = request_ended(request.with_results([feed], TOFT, NOON), TOFT)

    assert event.detail_type == "Freshness not ensured"
    assert event.detail().items() >= WHO.items()
    assert event.detail()["dataTypes"][0].items() >= WHERE.items()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.detail_type)
def test_the_schema_of_an_event_is_current(kind: type[Notification]) -> None:
    text = file_of(kind.detail_type).read_text(encoding="utf-8")
    assert text == text_of(kind), "run: make docs"
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


def test_every_schema_is_of_an_event_and_every_event_is_documented() -> None:
    assert set(FOLDER.iterdir()) == {file_of(kind.detail_type) for kind in KINDS}
    manual = (FOLDER.parent / "events.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"| `{kind.detail_type}` |" in manual


def test_no_more_events_are_published_at_once_than_eventbridge_accepts() -> None:
    events = Mock()
    events.put_events.return_value = {"FailedEntryCount": 0}
    world = World()
    world.record_company(ConnectionChanged(company_id="toft", connection=replace(XERO, status="Deauthorized")))
    many = world.bus.published * 23

    EventBus(events, "bus").publish(many)

    sizes = [len(call.kwargs["Entries"]) for call in events.put_events.call_args_list]
    assert max(sizes) == 10
    assert sum(sizes) == len(many)
