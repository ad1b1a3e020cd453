"""What ticks and webhooks tell others of promises and of connections, on real tables."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from freshness.app.apply_webhook import Webhook
from freshness.app.queue_refreshes import Refresh
from freshness.app.webhook_heartbeat import SILENT_AFTER, Silence, is_silent
from freshness.aws.event_bus import ConnectionBack, PromiseBroken, PromiseKeptAgain, RelinkNeeded
from freshness.aws.store import Store
from freshness.codat.client import Codat
from freshness.domain.company import Company, Connection, ConnectionStatus
from freshness.domain.feed import End, Feed, State
from freshness.policy.policy import Policy
from tests import webhook_bodies as bodies
from tests.integration.recorder import Recorder

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = Policy.model_validate({"default": {"fresh_within": "6 hours"}})
ROW = Feed(company_id=bodies.COMPANY, data_type="invoices", connection_id="connection")


class World:
    """One company with one feed that was refreshed at noon, at a Codat that takes no calls."""

    def __init__(self, store: Store) -> None:
        self.store, self.bus, self.now = store, Recorder(), NOON
        connection = Connection(
            connection_id="connection",
            platform="Xero",
            source_type="Accounting",
            status=ConnectionStatus.LINKED,
            status_at=NOON - 24 * HOUR,
            link_url="https://link.example/connection",
        )
        company = Company(company_id=bodies.COMPANY, connections={"connection": connection}, check_at=NOON + 24 * HOUR)
        store.change_company(Company(company_id=bodies.COMPANY), lambda _: company)
        promise = POLICY.promise("invoices", company, connection)
        end = End(at=NOON, state="Complete")
        store.change_feed(ROW, lambda feed: feed.ended(end, True).planned(promise, connection))

    def tick(self, now: datetime) -> Refresh:
        """One tick of queueing, at a given time."""
        self.now = now
        return asyncio.run(self._tick())

    async def _tick(self) -> Refresh:
        refused = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "3600"}))
        async with httpx.AsyncClient(transport=refused, base_url="https://api.codat.io") as http:
            refresh = Refresh(
                store=self.store,
                codat=Codat(http, "key", clock=lambda: self.now),
                bus=self.bus,
                policy=POLICY,
                clock=lambda: self.now,
                until=self.now + HOUR,
            )
            await refresh.queue_due()
        return refresh

    def webhook(self, message_id: str, body: str) -> None:
        """A webhook that comes now."""
        Webhook(store=self.store, bus=self.bus, policy=POLICY, clock=lambda: self.now).apply(message_id, body)

    @property
    def feed(self) -> Feed:
        """The feed as it stands."""
        return self.store.feed(bodies.COMPANY, "invoices", "connection")

    def feed_is_due(self, now: datetime) -> bool:
        """Whether a tick would look at the feed."""
        return bool(self.store.feeds_due(now, 1))


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def test_a_promise_that_breaks_is_told_once_though_codat_takes_no_calls(world: World) -> None:
    world.tick(NOON + 6 * HOUR - timedelta(seconds=1))
    assert world.bus.published == []

    for minutes in range(5):
        world.tick(NOON + 6 * HOUR + timedelta(minutes=minutes))

    [broken] = world.bus.published
    assert isinstance(broken, PromiseBroken)
    assert (broken.broken_at, broken.refreshed_at, broken.link_url) == (NOON + 6 * HOUR, NOON, "")


def test_a_promise_is_told_to_be_kept_again_by_the_tick_after_the_copy_that_keeps_it(world: World) -> None:
    world.tick(NOON + 7 * HOUR)
    world.webhook("m", bodies.read_completed(NOON + 8 * HOUR, ("connection", "invoices", "Complete")))
    world.bus.published.clear()

    world.tick(NOON + 8 * HOUR + timedelta(minutes=1))
    world.tick(NOON + 8 * HOUR + timedelta(minutes=2))

    [kept] = world.bus.published
    assert isinstance(kept, PromiseKeptAgain)
    assert kept.broken_at == NOON + 6 * HOUR
    assert world.feed.broken_at is None
    assert not world.feed_is_due(NOON + 9 * HOUR)


def test_a_copy_too_old_to_keep_the_promise_tells_nothing(world: World) -> None:
    world.tick(NOON + 7 * HOUR)
    world.webhook("m", bodies.read_completed(NOON + HOUR, ("connection", "invoices", "Complete")))
    world.bus.published.clear()

    world.tick(NOON + 9 * HOUR)

    assert world.bus.published == []


def test_a_feed_that_is_blocked_breaks_its_promise_loudly_and_is_then_left_alone(world: World) -> None:
    world.webhook("m", bodies.connection(NOON + HOUR, "disconnected", "Deauthorized"))
    world.bus.published.clear()
    assert not world.feed_is_due(NOON + 6 * HOUR - timedelta(seconds=1))

    world.tick(NOON + 6 * HOUR)

    [broken] = world.bus.published
    assert isinstance(broken, PromiseBroken)
    assert (broken.state, broken.link_url) == (State.BLOCKED, "https://link.example/connection")
    assert not world.feed_is_due(NOON + 1000 * HOUR)


def test_a_connection_that_lapsed_stops_the_refreshes_and_asks_for_a_relink(world: World) -> None:
    world.webhook("m", bodies.connection(NOON + HOUR, "disconnected", "Deauthorized"))

    [needed] = world.bus.published
    assert isinstance(needed, RelinkNeeded)
    assert (needed.link_url, needed.since) == ("https://link.example/connection", NOON + HOUR)
    assert world.tick(NOON + 5 * HOUR + timedelta(minutes=59)).codat.calls == 0


def test_a_connection_that_is_back_is_told_and_its_feeds_are_due_at_once(world: World) -> None:
    world.webhook("m1", bodies.connection(NOON + HOUR, "disconnected", "Deauthorized"))
    world.webhook("m2", bodies.connection(NOON + 2 * HOUR, "reconnected", "Linked"))

    assert [type(news) for news in world.bus.published] == [RelinkNeeded, ConnectionBack]
    assert world.feed_is_due(NOON + 2 * HOUR + timedelta(seconds=1))
    world.webhook("m3", bodies.read_completed(NOON + 3 * HOUR, ("connection", "invoices", "Complete")))
    assert not world.feed_is_due(NOON + 4 * HOUR)


def test_news_of_a_connection_that_came_too_late_is_not_told(world: World) -> None:
    world.webhook("m2", bodies.connection(NOON + 2 * HOUR, "reconnected", "Linked"))
    world.webhook("m1", bodies.connection(NOON + HOUR, "disconnected", "Deauthorized"))

    assert world.bus.published == []


def test_a_read_that_was_refused_asks_for_a_relink_once_for_its_connection(world: World) -> None:
    refused = (("connection", "invoices", "AuthError"), ("connection", "bills", "AuthError"))
    world.webhook("m1", bodies.read_completed(NOON + HOUR, *refused))
    world.webhook("m2", bodies.read_completed(NOON + 2 * HOUR, *refused))

    assert world.bus.told == ["Relink needed"]


def test_data_that_our_user_wrote_makes_the_feed_due_at_once_until_it_is_read(world: World) -> None:
    world.webhook("m1", bodies.written(NOON + HOUR, "invoices"))

    assert world.feed_is_due(NOON + HOUR + timedelta(seconds=1))
    world.webhook("m2", bodies.read_completed(NOON + 2 * HOUR, ("connection", "invoices", "Complete")))
    world.webhook("m1 again", bodies.written(NOON + HOUR, "invoices"))
    assert not world.feed_is_due(NOON + 3 * HOUR)


def test_what_a_rule_tells_of_an_unknown_dataset_is_left_to_a_check(world: World) -> None:
    before = world.feed
    world.webhook("m", bodies.rule("Data sync completed", "unknown"))

    assert world.feed == before
    assert list(world.store.companies_due_for_check(NOON)) == [bodies.COMPANY]


def test_a_deleted_company_is_not_brought_back_by_late_news(world: World) -> None:
    world.webhook("m1", bodies.company(NOON + HOUR, "deleted"))
    world.webhook("m2", bodies.read_completed(NOON, ("connection", "invoices", "Complete")))
    world.webhook("m3", bodies.connection(NOON, "connected", "Linked"))
    world.webhook("m4", bodies.company(NOON - HOUR, "created"))

    company = world.store.company(bodies.COMPANY)
    assert company == Company(company_id=bodies.COMPANY, deleted_at=NOON + HOUR, version=2)
    assert world.store.feeds(bodies.COMPANY) == []
    assert list(world.store.companies_due_for_check(NOON + 1000 * HOUR)) == []


def test_a_deleted_connection_is_not_brought_back_by_late_news(world: World) -> None:
    world.webhook("m1", bodies.connection(NOON + HOUR, "deleted", "Linked"))
    world.webhook("m2", bodies.connection(NOON, "connected", "Linked"))

    company = world.store.company(bodies.COMPANY)
    assert company
    assert company.active_connections("invoices") == []
    assert world.bus.published == []


@pytest.mark.parametrize(
    "body", [bodies.event("expenses.sync.successful", NOON, {}), bodies.rule("Push Operation Timed Out", "dataset")]
)
def test_a_kind_that_is_not_used_is_passed_over(world: World, body: str) -> None:
    before = world.feed, world.store.company(bodies.COMPANY)

    world.webhook("m", body)

    assert (world.feed, world.store.company(bodies.COMPANY)) == before


def test_silence_is_noticed_when_refreshes_end_and_no_webhook_came_for_a_while(store: Store) -> None:
    assert is_silent(store, ended_untold=1, now=NOON)
    Silence().broken(store, NOON)

    assert not is_silent(store, ended_untold=1, now=NOON + SILENT_AFTER - timedelta(seconds=1))
    assert is_silent(store, ended_untold=1, now=NOON + SILENT_AFTER)
    assert not is_silent(store, ended_untold=0, now=NOON + 100 * SILENT_AFTER)
