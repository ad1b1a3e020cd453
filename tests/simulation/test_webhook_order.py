"""Webhooks in any order, any number of times, at the same moment, and with the function killed anywhere."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshness.app.apply_webhook import Webhook
from freshness.aws.event_bus import Bus, CompanyDataRefreshed, ConnectionBack, News, RelinkNeeded
from freshness.aws.store import Store, Tables
from freshness.domain.company import Company, Connection, ConnectionStatus
from freshness.domain.dataset import Dataset, DatasetState, Trigger
from freshness.domain.feed import Feed, Request
from freshness.policy.policy import Policy
from tests import webhook_bodies as bodies
from tests.integration.recorder import Recorder
from tests.simulation.memory_dynamodb import MemoryDynamoDB

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATER = NOON + timedelta(days=16)
TOMORROW = LATER + timedelta(days=1)
TABLES = Tables(companies="companies", feeds="feeds", datasets="datasets", control="control")
POLICY = Policy.model_validate({"default": {"fresh_within": "6 hours"}})
CONNECTIONS = ("xero", "plaid")
DATA_TYPES = ("invoices", "bills")

minutes = st.one_of(st.integers(-5, 5), st.integers(-15 * 24 * 60, 15 * 24 * 60)).map(lambda n: NOON + n * MINUTE)
states = st.one_of(st.sampled_from(["Complete", "AuthError"]), st.sampled_from([*DatasetState, "SomethingNew"]))
reads = st.tuples(st.sampled_from(CONNECTIONS), st.sampled_from(DATA_TYPES), states)
messages = st.one_of(
    st.builds(
        lambda at, told, initial, modified: bodies.read_completed(at, *told, initial=initial, modified=modified),
        minutes,
        st.lists(reads, min_size=1, max_size=4, unique_by=lambda read: read[:2]),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        lambda at, told, connection_id, in_full: bodies.connection(
            at, *told, connection_id=connection_id, in_full=in_full
        ),
        minutes,
        st.sampled_from(
            [
                ("created", "PendingAuth"),
                ("connected", "Linked"),
                ("disconnected", "Deauthorized"),
                ("disconnected", "Unlinked"),
                ("reconnected", "Linked"),
                ("failed", "PendingAuth"),
                ("deleted", "Linked"),
            ]
        ),
        st.sampled_from((*CONNECTIONS, "new")),
        st.booleans(),
    ),
    st.builds(
        lambda at, data_type, connection_id: bodies.written(at, data_type, connection_id=connection_id),
        minutes,
        st.sampled_from(DATA_TYPES),
        st.sampled_from(CONNECTIONS),
    ),
    st.builds(
        lambda rule_type, dataset_id, status: bodies.rule(rule_type, dataset_id, status=status),
        st.sampled_from(["Data sync completed", "Dataset data changed", "Data Sync Status Changed To Error"]),
        st.sampled_from(["dataset-xero", "unknown"]),
        st.sampled_from([None, "ProcessingError", "Fetching"]),
    ),
    st.builds(lambda at: bodies.company(at, "created"), minutes),
)
deletions = st.builds(lambda at: bodies.company(at, "deleted"), minutes)


class World:
    """Tables with a company in them that has two connections, one of them being read; and a bus."""

    def __init__(self) -> None:
        self._dynamodb = MemoryDynamoDB()
        self.store = self._store(self._dynamodb)
        self.bus = Recorder()
        connections = {
            name: Connection(
                connection_id=name,
                platform="Xero",
                source_type="Accounting",
                status=ConnectionStatus.LINKED,
                status_at=NOON - timedelta(days=30),
            )
            for name in CONNECTIONS
        }
        company = Company(company_id=bodies.COMPANY, connections=connections, check_at=TOMORROW)
        self.store.change_company(Company(company_id=bodies.COMPANY), lambda _: company)
        feed = Feed(company_id=bodies.COMPANY, data_type="invoices", connection_id="xero")
        self.store.merge_dataset(
            Dataset(
                company_id=bodies.COMPANY,
                dataset_id="dataset-xero",
                data_type="invoices",
                connection_id="xero",
                trigger=Trigger.PROMISE,
                requested_at=NOON,
                states={"Queued": NOON},
            )
        )
        request = Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset-xero")
        self.store.change_feed(feed, lambda feed: feed.requested(request))

    @staticmethod
    def _store(dynamodb: Any) -> Store:
        return Store(dynamodb, TABLES)

    def apply(self, message_id: str, body: str, before_call: Callable[[], None] = lambda: None) -> None:
        """Apply a message; `before_call` is called before each call that this makes, and may break it off."""
        store = self._store(self._dynamodb.sharing(before_call))
        Webhook(store=store, bus=Watched(self.bus, before_call), policy=POLICY, clock=lambda: LATER).apply(
            message_id, body
        )

    @property
    def items(self) -> dict[tuple[str, ...], Any]:
        """All that is in the tables."""
        return {
            (name, *key): item
            for name, table in self._dynamodb.tables.items()
            for partition in table.partitions.values()
            for key, item in partition.items()
        }

    @property
    def writes(self) -> int:
        """How often anything was written, or tried to be."""
        return self._dynamodb.calls["PutItem"] + self._dynamodb.calls["DeleteItem"]

    @property
    def news(self) -> set[tuple[str, str]]:
        """What was published, however often."""
        return {(news.detail_type, news.id) for news in self.bus.published}

    @property
    def refreshes(self) -> set[str]:
        """The ids of the refreshes that were published."""
        return {news.id for news in self.bus.published if isinstance(news, CompanyDataRefreshed)}

    def last_told(self, connection_id: str) -> News | None:
        """What was told last of whether a connection can be read through."""
        told = [news for news in self.bus.published if isinstance(news, RelinkNeeded | ConnectionBack)]
        return next((news for news in reversed(told) if news.connection_id == connection_id), None)

    @property
    def connections(self) -> dict[str, Connection]:
        """The company's connections as they stand."""
        company = self.store.company(bodies.COMPANY)
        return company.connections if company else {}

    def check(self) -> None:
        """What a check does to a company that is due for one: plan its feeds by what is known by then."""
        company = self.store.company(bodies.COMPANY)
        if company and company.deleted_at:
            self.store.forget(company, company.deleted_at)
        elif company and company.check_at and company.check_at <= LATER:
            for feed in self.store.feeds(bodies.COMPANY):
                self.store.change_feed(feed, partial(self._planned, company=company))

    @staticmethod
    def _planned(feed: Feed, company: Company) -> Feed:
        connection = company.connections.get(feed.connection_id)
        return feed.planned(POLICY.promise(feed.data_type, company, connection), connection) if connection else feed

    def tells(self) -> tuple[object, ...]:
        """All that the tables tell, but how often it was written."""
        company = self.store.company(bodies.COMPANY)
        # How the datasets ended that a company had when it was deleted is of no interest any more.
        datasets = [] if company and company.deleted_at else self.store.datasets(bodies.COMPANY)
        return (
            company and replace(company, version=0),
            sorted((replace(feed, version=0) for feed in self.store.feeds(bodies.COMPANY)), key=repr),
            sorted((replace(dataset, version=0) for dataset in datasets), key=repr),
            replace(self.store.quota(), version=0),
        )


class Watched(Bus):
    """A bus, before whose every call something is called."""

    def __init__(self, bus: Bus, before_call: Callable[[], None]) -> None:
        self._bus = bus
        self._before_call = before_call

    def publish(self, news: Sequence[News]) -> None:
        """Publish it, if the call before lets it."""
        self._before_call()
        self._bus.publish(news)


@settings(max_examples=300, deadline=None)
@given(told=st.lists(messages, min_size=2, max_size=8), deleted=st.lists(deletions, max_size=2), seed=st.integers())
def test_webhooks_in_any_order_and_any_number_of_times_leave_the_same_tables(
    told: list[str], deleted: list[str], seed: int
) -> None:
    random = Random(seed)
    deleted = deleted if random.random() < 0.2 else []
    numbered = list(enumerate(told + deleted))
    shuffled = numbered + random.choices(numbered, k=random.randint(0, len(numbered)))
    random.shuffle(shuffled)
    once, often = World(), World()

    for number, body in numbered:
        once.apply(str(number), body)
    for number, body in shuffled:
        often.apply(str(number), body)

    assert often.tells() == once.tells()
    assert len(often.bus.published) == len({news.id for news in often.bus.published})
    for connection in often.connections.values():
        assert not connection.needs_relink or isinstance(often.last_told(connection.connection_id), RelinkNeeded)
    if not deleted:
        assert often.refreshes == once.refreshes


class Killed(BaseException):
    """The function was stopped between two of its calls."""


KINDS = {
    "reads of two data types": bodies.read_completed(
        NOON + MINUTE, ("xero", "invoices", "Complete"), ("plaid", "bills", "Complete")
    ),
    "a read of a connection not known": bodies.read_completed(NOON, ("new", "invoices", "Complete")),
    "reads that were refused, of two connections": bodies.read_completed(
        NOON + MINUTE, ("xero", "invoices", "AuthError"), ("plaid", "bills", "AuthError")
    ),
    "a connection that lapsed": bodies.connection(NOON, "disconnected", "Deauthorized", connection_id="xero"),
    "the connection that came back": bodies.connection(NOON + MINUTE, "reconnected", "Linked", connection_id="xero"),
    "a connection that was deleted": bodies.connection(NOON, "deleted", "Linked", connection_id="plaid"),
    "a dataset of a rule": bodies.rule("Dataset data changed", "dataset-xero"),
    "an unknown dataset of a rule": bodies.rule("Data sync completed", "unknown"),
    "data written": bodies.written(NOON, "invoices", connection_id="xero"),
    "a company deleted": bodies.company(NOON, "deleted"),
    "reads of a company not known": bodies.read_completed(
        NOON, ("new", "invoices", "Complete"), ("new", "bills", "Complete"), company_id="stranger"
    ),
    "the quota spent": bodies.rate_limit(NOON, "reached", NOON + 60 * MINUTE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_writes_each_feed_at_most_once_and_none_when_it_comes_again(kind: str) -> None:
    world = World()
    items = world.items
    calls = world.writes

    world.apply("message", KINDS[kind])

    touched = {key for key, item in world.items.items() if item != items.get(key)} | (items.keys() - world.items.keys())
    written = world.writes - calls
    assert 0 < written <= len(touched)
    world.apply("message", KINDS[kind])
    assert world.writes == calls + written


@pytest.mark.parametrize("kind", KINDS)
def test_killed_between_any_two_calls_and_run_again_it_leaves_the_same_feeds_and_loses_no_event(kind: str) -> None:
    untouched = World()
    untouched.apply("message", KINDS[kind])
    assert len(untouched.bus.published) == len({news.id for news in untouched.bus.published})
    most, finished = 0, False
    while not finished:
        world, left = World(), iter(range(most))

        def call(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Killed

        try:
            world.apply("message", KINDS[kind], before_call=call)
            finished = True
        except Killed:
            world.apply("message", KINDS[kind])

        assert world.tells() == untouched.tells(), f"killed after {most} calls"
        assert world.news == untouched.news
        most += 1
    assert most > 3


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_another_message_applied_between_any_two_calls_changes_neither_feeds_nor_news(kind: str, other: str) -> None:
    """Among them the same message, applied twice at the same moment."""
    one_by_one = World()
    one_by_one.apply(kind, KINDS[kind])
    one_by_one.apply(other, KINDS[other])
    for most in count():
        world, calls = World(), count()

        def call(world: World = world, calls: Iterator[int] = calls, most: int = most) -> None:
            if next(calls) == most:
                world.apply(other, KINDS[other])

        world.apply(kind, KINDS[kind], before_call=call)
        if next(calls) <= most:
            break
        if world.tells() != one_by_one.tells():
            world.check()
        assert world.tells() == one_by_one.tells(), f"applied after {most} calls"
        assert world.refreshes == one_by_one.refreshes or "company deleted" in kind + other
        for connection in world.connections.values():
            told = world.last_told(connection.connection_id)
            assert not connection.needs_relink or isinstance(told, RelinkNeeded)
            assert "refused" in kind + other or not connection.is_linked or not isinstance(told, RelinkNeeded)
    assert most > 3


def test_the_quota_spent_and_given_anew_is_told_in_any_order() -> None:
    reached = bodies.rate_limit(NOON, "reached", NOON + 60 * MINUTE)
    reset = bodies.rate_limit(NOON + MINUTE, "reset", NOON + 60 * MINUTE)
    for order in ((reached, reset), (reset, reached)):
        world = World()
        for number, body in enumerate(order):
            world.apply(str(number), body)
        assert world.store.quota().no_call_before(NOON + 2 * MINUTE) is None
    world = World()
    world.apply("message", reached)
    assert world.store.quota().no_call_before(NOON + 2 * MINUTE) == NOON + 60 * MINUTE
