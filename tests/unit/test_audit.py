"""Who did what: every operation of a person or a program is recorded and published."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from cli import audit as command
from estimate.memory_dynamodb import tables_in_memory
from freshness.app.operations import Operations, Paused
from freshness.app.reading.queries import Queries
from freshness.app.services import Services
from freshness.aws.dynamodb.table import ContentionError
from freshness.aws.event_bus import NotPublished
from freshness.domain.audit import KEPT, Actor, AuditEntry
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause
from freshness.domain.feeds.feed import Feed
from tests.builders import DAY, NOON, a_connection, a_policy
from tests.integration.recording_bus import RecordingBus
from tests.services import services_of

ANN = Actor(who="arn:aws:sts::1:assumed-role/Ops/ann", source="the command line on laptop")
XERO = a_connection("1", NOON - DAY)
TOFT = Company(company_id="toft", name="Toft stores", connections={"1": XERO})
POLICY = a_policy()


class World:
    """Tables in memory with a company, and Ann, who operates them."""

    def __init__(self) -> None:
        self.tables = tables_in_memory()
        self.bus, self.now = RecordingBus(), NOON
        self.services: Services = services_of(self.tables, POLICY, bus=self.bus, clock=lambda: self.now)
        self.company = self.tables.companies.put(TOFT)
        for data_type in ("invoices", "bills"):
            feed = Feed(company_id="toft", data_type=data_type, connection_id="1", succeeded_at=NOON - DAY / 2)
            self.tables.feeds.put(feed)
        self.operations = Operations(services=self.services, actor=ANN)

    @property
    def entries(self) -> list[AuditEntry]:
        """What the audit has of the last 400 days."""
        return list(self.tables.audit.since(self.now - KEPT, self.now))


@pytest.fixture
def world() -> World:
    return World()


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


def test_the_audit_is_kept_for_400_days_and_is_no_feed(world: World) -> None:
    world.operations.pause(world.company)
    [item] = [each for each in world.tables.feeds._table.scan() if "expires_at" in each]
    assert item["expires_at"] == int((NOON + KEPT).timestamp())
    assert {feed.data_type for feed in world.tables.feeds.scan()} == {"invoices", "bills"}


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


def test_what_is_done_at_midnight_is_listed_at_once(world: World) -> None:
    world.now = NOON + DAY / 2
    world.operations.pause_all()
    assert [each.operation for each in world.tables.audit.since(NOON, world.now)] == ["pause"]
