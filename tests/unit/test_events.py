"""Events: their schemas and what they carry; and the audit of what people and programs do, as events and records."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import jsonschema  # type: ignore[import-untyped]
import pytest

from cli import audit as command
from estimate.memory_dynamodb import tables_in_memory
from freshness.app.operations import Operations, Paused
from freshness.app.reading.queries import Queries
from freshness.app.services import Services
from freshness.aws.dynamodb.table import ContentionError
from freshness.aws.event_bus import EventBus, NotPublished
from freshness.domain.audit import KEPT, Actor, AuditEntry
from freshness.domain.companies.company import Company, ConnectionStatus
from freshness.domain.companies.company_facts import CompanyFact, ConnectionChanged, ReadsEnded
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import DatasetState, Issue, Trigger
from freshness.domain.feeds.facts import DatasetRequested, FeedFact, PromiseReviewed, ReadEnded
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.freshness_request import FreshnessRequest
from freshness.domain.times import sortable
from freshness.domain.transitions.notifications import KINDS, Notification, request_ended
from infra.event_schemas import FOLDER, file_of, text_of
from tests.builders import DAY, HOUR, NOON, a_connection, a_policy, a_read
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
INVOICES = Feed(company_id="toft", data_type="invoices", connection_id="xero")
ANN = Actor(who="arn:aws:sts::1:assumed-role/Ops/ann", source="the command line on laptop")
WHO = {"companyId": "toft", "companyName": "Toft stores", "tags": {"plan": "gold"}}
WHERE = {"connectionId": "xero", "platform": "Xero", "integrationKey": "gbol", "status": "Linked"}


class World:
    """Tables in memory with one company, a bus that records, and Ann, who operates them."""

    def __init__(self) -> None:
        self.tables = tables_in_memory()
        self.bus, self.now = RecordingBus(), NOON
        self.services: Services = services_of(self.tables, POLICY, bus=self.bus, clock=lambda: self.now)
        self.operations = Operations(services=self.services, actor=ANN)
        self.tables.companies.put(TOFT)

    def record(self, *facts: FeedFact) -> list[dict[str, Any]]:
        """Record facts on the company's invoices, and return what was published."""
        before = len(self.bus.published)
        self.services.recorder.record_feed(INVOICES, self.company, *facts)
        return [each.detail() for each in self.bus.published[before:]]

    def record_company(self, fact: CompanyFact) -> list[dict[str, Any]]:
        """Record a fact on the company, and return what was published."""
        before = len(self.bus.published)
        self.services.recorder.record_company(self.company, fact)
        return [each.detail() for each in self.bus.published[before:]]

    @property
    def company(self) -> Company:
        """The company as it is stored."""
        known = self.tables.companies.get("toft")
        assert known
        return known

    @property
    def entries(self) -> list[AuditEntry]:
        """What the audit has of the last 400 days."""
        return list(self.tables.audit.since(self.now - KEPT, self.now))


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

    event = request_ended(request.with_results([INVOICES], TOFT, NOON), TOFT)

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


@pytest.fixture
def world() -> World:
    """Return a world with two feeds."""
    world = World()
    for data_type in ("invoices", "bills"):
        world.tables.feeds.put(replace(INVOICES, data_type=data_type, succeeded_at=NOON - DAY / 2))
    return world


def test_each_operation_is_recorded_with_who_when_what_and_from_where(world: World) -> None:
    world.operations.request_refreshes(world.company, world.tables.feeds.of_company("toft"))
    world.now += timedelta(minutes=1)
    world.operations.pause(world.company, Pause(until=datetime(2026, 12, 24, 18, tzinfo=UTC), reason="holidays"))
    world.operations.pause_all()
    world.now += DAY
    world.operations.resume_all()
    world.operations.confirm_deletions()
    world.now += DAY
    assert world.operations.erase("toft") == 3

    assert [(each.operation, each.company_id, each.what, each.at) for each in world.entries] == [
        ("refresh", "toft", "bills, invoices", NOON),
        ("pause", "", "paused", NOON + timedelta(minutes=1)),
        ("pause", "toft", "paused until 2026-12-24 18:00 UTC", NOON + timedelta(minutes=1)),
        ("confirm deletions", "", "", NOON + timedelta(minutes=1) + DAY),
        ("resume", "", "", NOON + timedelta(minutes=1) + DAY),
        ("erase", "toft", "", NOON + timedelta(minutes=1) + 2 * DAY),
    ]
    assert {(each.who, each.source) for each in world.entries} == {(ANN.who, ANN.source)}


def test_an_event_of_each_operation_has_the_company_and_an_id_of_its_own(world: World) -> None:
    world.operations.pause(world.company)
    world.operations.pause_all()

    one, everything = [each.detail() for each in world.bus.published]
    assert (one["operation"], one["companyName"], one["who"], one["source"]) == (
        "pause",
        "Toft stores",
        ANN.who,
        ANN.source,
    )
    assert (everything["companyId"], everything["companyName"]) == ("", "")
    assert one["id"] != everything["id"]
    assert world.bus.kinds == ["Operation performed"] * 2


def test_what_is_refused_or_changes_nothing_is_not_recorded(world: World) -> None:
    world.operations.request_refreshes(world.company, [])
    world.tables.control.pause()
    with pytest.raises(Paused):
        world.operations.request_refreshes(world.company, world.tables.feeds.of_company("toft"))
    assert world.entries == []


def test_an_operation_that_cannot_be_recorded_is_not_carried_out(world: World) -> None:
    world.bus.publish = Mock(side_effect=NotPublished("throttled"))  # type: ignore[method-assign]
    with pytest.raises(NotPublished):
        world.operations.pause_all()
    assert world.tables.control.paused() is None
    assert [(each.operation, each.failed) for each in world.entries] == [("pause", "throttled")]


def test_an_operation_that_fails_is_marked_in_the_audit_and_published_as_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(world.tables.control), "resume", Mock(side_effect=ContentionError("too many writers")))
    with pytest.raises(ContentionError):
        world.operations.resume_all()

    [entry] = world.entries
    assert (entry.operation, entry.failed) == ("resume", "too many writers")
    begun, failed = (each.detail() for each in world.bus.published)
    assert (begun["failed"], failed["failed"]) == ("", "too many writers")
    assert begun["id"] != failed["id"]


def test_the_audit_is_kept_for_400_days_is_no_feed_and_has_at_once_what_is_done_at_midnight(world: World) -> None:
    world.now = NOON + DAY / 2
    world.operations.pause_all()

    [item] = [each for each in world.tables.feeds._table.scan() if "expires_at" in each]
    assert item["expires_at"] == int((world.now + KEPT).timestamp())
    assert {feed.data_type for feed in world.tables.feeds.scan()} == {"invoices", "bills"}
    assert [each.operation for each in world.tables.audit.since(NOON, world.now)] == ["pause"]


def test_the_command_shows_what_was_done_to_a_company_since_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.operations.pause(world.company)
    world.now += 10 * DAY
    world.operations.pause_all()
    world.operations.resume(world.company)
    stack = SimpleNamespace(tables=world.tables, queries=Queries(services=world.services))
    monkeypatch.setattr(command, "selected_stack", lambda _: stack)
    monkeypatch.setattr(command, "clock", lambda: world.now)

    def shown(since: timedelta, company: str | None = None) -> list[dict[str, Any]]:
        command.audit(Mock(), since=since, company=company, as_json=True)
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    assert [each["operation"] for each in shown(30 * DAY)] == ["resume", "pause", "pause"]
    assert [each["operation"] for each in shown(DAY)] == ["resume", "pause"]
    assert [each["operation"] for each in shown(30 * DAY, "Toft stores")] == ["resume", "pause"]
    assert shown(30 * DAY, "a company that was deleted") == []
    command.audit(Mock(), since=30 * DAY, company=None, as_json=False)
    assert "Toft stores" in (text := capsys.readouterr().out)
    assert "ann" in text
