"""What ticks and webhooks publish of promises and connections, on real tables."""

import asyncio
import json
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import httpx
import pytest

from freshness.app.checking.list_companies import promised
from freshness.app.queue_refreshes import queue_refreshes
from freshness.app.reading.queries import Queries
from freshness.app.services import Services
from freshness.app.tick import run_tick
from freshness.app.webhook_heartbeat import SILENT_AFTER, WebhookHeartbeat, is_silent
from freshness.app.webhooks import WebhookApplier
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.metrics import Metric
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import UNKNOWN_SYNC_TIME, Feed
from freshness.domain.feeds.feed_values import State
from freshness.domain.feeds.schedule import QUEUEING_MARGIN
from freshness.domain.transitions.notifications import (
    PromiseBroken,
    RelinkNeeded,
)
from tests import webhook_bodies as bodies
from tests.builders import HOUR, NOON, a_connection, a_policy, a_read
from tests.integration.recording_bus import RecordingBus
from tests.services import codat_at, services_of

POLICY = a_policy("6 hours")
FEED = Feed(company_id=bodies.COMPANY, data_type="invoices", connection_id="connection")


class World:
    """One company with one feed that was refreshed at noon, at a Codat that accepts no calls."""

    def __init__(self, tables: Tables) -> None:
        self.tables, self.bus, self.now = tables, RecordingBus(), NOON
        self.policy = POLICY
        self.recorder = self.services.recorder
        connection = a_connection("connection", NOON - 24 * HOUR, link_url="https://link.example/connection")
        company = Company(company_id=bodies.COMPANY, connections={"connection": connection}, check_at=NOON + 24 * HOUR)
        tables.companies.update(Company(company_id=bodies.COMPANY), lambda _: company)
        self.read(NOON)
        self.bus.published.clear()

    def read(self, at: datetime) -> None:
        """Record a read that ended."""
        company = self.tables.companies.get(bodies.COMPANY)
        assert company
        self.recorder.record_feed(self.feed, company, a_read(at, company_id=bodies.COMPANY))

    def tick(self, now: datetime) -> Counter[Metric]:
        """Run one tick of queueing at a given time, and return what it counted."""
        self.now = now
        services = self.services
        asyncio.run(run_tick(services, queue_refreshes, uuid4().hex, HOUR))
        return Counter(self.measured)

    @property
    def services(self) -> Services:
        """Return the services of one invocation."""
        refused = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "3600"}))
        codat = codat_at("https://api.codat.io", "key", refused)
        self.measured: dict[Metric, int] = {}
        return services_of(
            self.tables, self.policy, bus=self.bus, clock=lambda: self.now, codat=codat, measured=self.measured
        )

    def webhook(self, body: str) -> None:
        """Apply a webhook, which arrives as soon as it is generated, or now if it says nothing of that."""
        if generated_at := json.loads(body).get("generatedDate"):
            self.now = max(self.now, datetime.fromisoformat(generated_at))
        applier = WebhookApplier(tables=self.tables, recorder=self.recorder, clock=lambda: self.now)
        applier.record(applier.parse(body))

    @property
    def company(self) -> Company:
        """Return the company."""
        company = self.tables.companies.get(bodies.COMPANY)
        assert company
        return company

    @property
    def feed(self) -> Feed:
        """Return the feed."""
        return self.tables.feeds.get(bodies.COMPANY, "invoices", "connection")

    def feed_is_due(self, now: datetime) -> bool:
        """Return whether a tick would read the feed."""
        return bool(next(self.tables.feeds.due(now, 1), []))


@pytest.fixture
def world(tables: Tables) -> World:
    return World(tables)


def test_a_broken_promise_is_published_once_although_codat_accepts_no_calls(world: World) -> None:
    world.tick(NOON + 6 * HOUR - timedelta(seconds=1))
    assert world.bus.published == []

    for minutes in range(5):
        world.tick(NOON + 6 * HOUR + timedelta(minutes=minutes))

    [broken] = world.bus.published
    assert isinstance(broken, PromiseBroken)
    assert (broken.broken_at, broken.refreshed_at, broken.link_url) == (NOON + 6 * HOUR, NOON, "")


def test_a_copy_too_old_to_keep_the_promise_publishes_nothing_of_it(world: World) -> None:
    world.tick(NOON + 7 * HOUR)
    world.webhook(bodies.read_completed(NOON + HOUR, ("connection", "invoices", "Complete")))
    world.bus.published.clear()

    world.tick(NOON + 9 * HOUR)

    assert world.bus.published == []


def test_the_broken_promise_of_a_blocked_feed_is_published_once(world: World) -> None:
    world.webhook(bodies.connection(NOON + HOUR, "disconnected", "Deauthorized"))
    world.bus.published.clear()
    assert not world.feed_is_due(NOON + 6 * HOUR - timedelta(seconds=1))

    world.tick(NOON + 6 * HOUR)

    [broken] = world.bus.published
    assert isinstance(broken, PromiseBroken)
    assert (broken.state, broken.link_url) == (State.BLOCKED, "https://link.example/connection")
    assert not world.feed_is_due(NOON + 1000 * HOUR)


def test_a_lapsed_connection_stops_the_refreshes_until_it_is_back_and_both_are_published(world: World) -> None:
    world.webhook(bodies.connection(NOON + HOUR, "disconnected", "Deauthorized"))

    [needed] = world.bus.published
    assert isinstance(needed, RelinkNeeded)
    assert (needed.link_url, needed.since) == ("https://link.example/connection", NOON + HOUR)
    assert world.tick(NOON + 2 * HOUR)[Metric.CODAT_CALLS] == 0

    world.webhook(bodies.connection(NOON + 3 * HOUR, "reconnected", "Linked"))
    assert world.bus.kinds == ["Relink needed", "Connection back"]
    assert world.feed_is_due(NOON + 3 * HOUR + timedelta(seconds=1))
    world.webhook(bodies.read_completed(NOON + 4 * HOUR, ("connection", "invoices", "Complete")))
    assert not world.feed_is_due(NOON + 5 * HOUR)


def test_a_connection_that_our_own_user_unlinked_is_off_in_silence_until_it_is_linked_again(world: World) -> None:
    world.tick(NOON + 7 * HOUR)
    assert world.bus.kinds == ["Promise broken"]
    world.webhook(bodies.connection(NOON + 8 * HOUR, "disconnected", "Unlinked"))

    for hours in (8, 9, 40):
        world.tick(NOON + hours * HOUR)
        assert not world.feed_is_due(NOON + hours * HOUR)
    [feed] = Queries(services=world.services).company(world.company, NOON + 40 * HOUR)
    assert (feed.state, feed.obstacle) == (State.OFF, "you unlinked it at Codat")
    assert world.tables.feeds.broken() == ([], True)
    assert list(promised(world.company, POLICY)) == []

    world.webhook(bodies.connection(NOON + 48 * HOUR, "reconnected", "Linked"))
    assert world.feed_is_due(NOON + 48 * HOUR + timedelta(seconds=1))
    world.tick(NOON + 53 * HOUR)
    assert world.bus.kinds == ["Promise broken"]
    world.tick(NOON + 55 * HOUR)
    assert world.bus.kinds == ["Promise broken", "Promise broken"]
    assert world.bus.published[-1].detail()["brokenAt"][:13] == "2026-11-25T18"


REFUSED = (("connection", "invoices", "AuthError"), ("connection", "bills", "AuthError"))


def test_a_read_that_was_refused_once_is_tried_again_and_its_reader_is_asked_for_nothing(world: World) -> None:
    world.webhook(bodies.read_completed(NOON + HOUR, *REFUSED))

    [explanation] = Queries(services=world.services).explain(world.company, "invoices", NOON + HOUR)

    assert (explanation.feed.state, explanation.feed.obstacle) == (State.FAILING, "")
    assert explanation.until == NOON + 6 * HOUR - UNKNOWN_SYNC_TIME - QUEUEING_MARGIN
    world.webhook(bodies.read_completed(NOON + 5.9 * HOUR, *REFUSED[:1]))
    [explanation] = Queries(services=world.services).explain(world.company, "invoices", NOON + 6 * HOUR)
    assert explanation.feed.obstacle == "the link to Xero has lapsed"


def test_a_success_costs_no_write_of_the_company_but_the_first_and_where_there_is_something_to_clear(
    world: World,
) -> None:
    versions = [world.company.version]

    for hours in range(1, 5):
        world.webhook(bodies.read_completed(NOON + hours * HOUR, ("connection", "invoices", "Complete")))
        versions.append(world.company.version)

    assert [after - before for before, after in pairwise(versions)] == [1, 0, 0, 0]


def test_data_that_the_user_wrote_makes_the_feed_due_at_once_until_it_is_read(world: World) -> None:
    world.webhook(bodies.written(NOON + HOUR, "invoices"))

    assert world.feed_is_due(NOON + HOUR + timedelta(seconds=1))
    world.webhook(bodies.read_completed(NOON + 2 * HOUR, ("connection", "invoices", "Complete")))
    world.webhook(bodies.written(NOON + HOUR, "invoices"))
    assert not world.feed_is_due(NOON + 3 * HOUR)


def test_a_rule_about_an_unknown_dataset_makes_the_company_due_for_a_check(world: World) -> None:
    before = world.feed
    world.webhook(bodies.rule("Data sync completed", "unknown"))

    assert world.feed == before
    assert list(world.tables.companies.due_for_check(NOON)) == [bodies.COMPANY]


@pytest.mark.parametrize(
    "body", [bodies.event("expenses.sync.successful", NOON, {}), bodies.rule("Push Operation Timed Out", "dataset")]
)
def test_a_webhook_of_an_unused_kind_changes_nothing(world: World, body: str) -> None:
    before = world.feed, world.tables.companies.get(bodies.COMPANY)

    world.webhook(body)

    assert (world.feed, world.tables.companies.get(bodies.COMPANY)) == before


def test_silence_is_detected_when_refreshes_end_and_no_webhook_arrived_for_a_while(tables: Tables) -> None:
    control = tables.control
    assert is_silent(control, found_by_check=1, now=NOON)
    WebhookHeartbeat().beat(control, NOON)

    assert not is_silent(control, found_by_check=1, now=NOON + SILENT_AFTER - timedelta(seconds=1))
    assert is_silent(control, found_by_check=1, now=NOON + SILENT_AFTER)
    assert not is_silent(control, found_by_check=0, now=NOON + 100 * SILENT_AFTER)
