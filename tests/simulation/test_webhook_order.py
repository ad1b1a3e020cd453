"""Webhooks in any order, any number of times, at the same moment, and with the function killed anywhere."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimate.memory_dynamodb import MemoryDynamoDB, tables_in_memory
from freshness.app.record import Recorder
from freshness.app.webhooks import WebhookApplier
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.domain.companies.company import Company, Connection
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.datasets.sync_history import Sync
from freshness.domain.feeds.facts import DatasetRequested, DataWritten, Rescheduled
from freshness.domain.feeds.feed import Feed
from freshness.domain.transitions.notifications import CompanyDataRefreshed, ConnectionBack, Notification, RelinkNeeded
from tests import webhook_bodies as bodies
from tests.builders import MINUTE, NOON, a_connection, a_policy
from tests.integration.recording_bus import RecordingBus

LATER = NOON + timedelta(days=16)
TOMORROW = LATER + timedelta(days=1)
POLICY = a_policy("6 hours")
CONNECTIONS = ("xero", "plaid")
DATA_TYPES = ("invoices", "bills")

minutes = st.one_of(st.integers(-5, 5), st.integers(-15 * 24 * 60, 15 * 24 * 60)).map(lambda n: NOON + n * MINUTE)
states = st.one_of(st.sampled_from(["Complete", "AuthError"]), st.sampled_from([*DatasetState, "SomethingNew"]))
reads = st.tuples(st.sampled_from(CONNECTIONS), st.sampled_from(DATA_TYPES), states)
FORMS = (
    "read.completed",
    "read.completed.successful",
    "read.completed.unsuccessful",
    "lending-plus.read.completed",
    "lending-plus.read.completed.unsuccessful",
)
messages = st.one_of(
    st.builds(
        lambda form, at, reads, initial, modified, issues: bodies.read_completed(
            at, *reads, initial=initial, modified=modified, form=form, issues=issues
        ),
        st.sampled_from(FORMS),
        minutes,
        st.lists(reads, min_size=1, max_size=4, unique_by=lambda read: read[:2]),
        st.booleans(),
        st.booleans(),
        st.sampled_from([[], [{"type": "warning.validation", "message": "Something is wrong."}]]),
    ),
    st.builds(
        lambda at, change, connection_id, in_full: bodies.connection(
            at, *change, connection_id=connection_id, in_full=in_full
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
    """Tables with a company that has two connections, one of them being read; and a bus."""

    def __init__(self) -> None:
        self._dynamodb = MemoryDynamoDB()
        self.tables = tables_in_memory(self._client())
        self.bus = RecordingBus()
        connections = {name: a_connection(name, NOON - timedelta(days=30)) for name in CONNECTIONS}
        company = Company(company_id=bodies.COMPANY, connections=connections, check_at=TOMORROW)
        self.tables.companies.put(company)
        feed = Feed(company_id=bodies.COMPANY, data_type="invoices", connection_id="xero")
        requested = DatasetRequested(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset-xero", state="Queued")
        self._recorder(self.tables, self.bus).record_feed(feed, company, requested)

    def _client(self, before_call: Callable[[], None] = lambda: None) -> Any:
        return self._dynamodb.sharing(before_call)

    @staticmethod
    def _recorder(tables: Tables, bus: EventBus) -> Recorder:
        return Recorder(tables=tables, bus=bus, policy=POLICY, clock=lambda: LATER)

    def apply(self, body: str, before_call: Callable[[], None] = lambda: None) -> None:
        """Apply a message. `before_call` is called before each call that this makes, and may raise."""
        tables = tables_in_memory(self._client(before_call))
        recorder = self._recorder(tables, WatchedBus(self.bus, before_call))
        applier = WebhookApplier(tables=tables, recorder=recorder, clock=lambda: LATER)
        applier.record(applier.parse(body))

    def touch(self) -> None:
        """Write the feed whose dataset is in flight, as another function does."""
        feed, company = (
            self.tables.feeds.get(bodies.COMPANY, "invoices", "xero"),
            self.tables.companies.get(bodies.COMPANY),
        )
        assert company
        self._recorder(self.tables, self.bus).record_feed(
            feed,
            company,
            DataWritten(company_id=bodies.COMPANY, connection_id="xero", data_type="invoices", at=NOON - MINUTE),
        )

    @property
    def items(self) -> dict[tuple[str, ...], Any]:
        """Return everything in the tables."""
        return {
            (name, *key): item
            for name, table in self._dynamodb.tables.items()
            for partition in table.partitions.values()
            for key, item in partition.items()
        }

    @property
    def writes(self) -> int:
        """Return how many writes were made."""
        return self._dynamodb.writes.total()

    @property
    def published(self) -> set[tuple[str, str]]:
        """Return the kinds and ids of what was published."""
        return {(notification.detail_type, notification.id) for notification in self.bus.published}

    @property
    def refreshes(self) -> set[str]:
        """Return the ids of the refreshes that were published."""
        return {each.id for each in self.bus.published if isinstance(each, CompanyDataRefreshed)}

    def last_published(self, connection_id: str) -> Notification | None:
        """Return what was last published of whether a connection can be read through."""
        published = [each for each in self.bus.published if isinstance(each, RelinkNeeded | ConnectionBack)]
        return next((each for each in reversed(published) if each.connection_id == connection_id), None)

    def history(self, read: tuple[str, str, str]) -> list[Sync]:
        """Return the syncs that are kept of the feed of a read."""
        connection_id, data_type, _ = read
        return list(self.tables.feeds.get(bodies.COMPANY, data_type, connection_id).history)

    @property
    def connections(self) -> dict[str, Connection]:
        """Return the company's connections."""
        company = self.tables.companies.get(bodies.COMPANY)
        return company.connections if company else {}

    def check(self) -> None:
        """Schedule the feeds of a company that is due for a check, or delete them if it was deleted."""
        company = self.tables.companies.get(bodies.COMPANY)
        recorder = self._recorder(self.tables, self.bus)
        if company and company.deleted_at:
            for feed in self.tables.feeds.of_company(bodies.COMPANY):
                recorder.delete(feed)
        elif company and company.check_at and company.check_at <= LATER:
            for feed in self.tables.feeds.of_company(bodies.COMPANY):
                recorder.record_feed(feed, company, Rescheduled())

    @property
    def values(self) -> tuple[object, ...]:
        """Return what is in the tables, apart from versions, and from how much of a breach is recorded already."""
        company = self.tables.companies.get(bodies.COMPANY)
        # How the datasets of a deleted company ended does not matter.
        datasets = [] if company and company.deleted_at else self.tables.datasets.of_company(bodies.COMPANY)
        return (
            company and replace(company, version=0),
            sorted(
                (replace(feed, version=0, breach=None) for feed in self.tables.feeds.of_company(bodies.COMPANY)),
                key=repr,
            ),
            sorted((replace(dataset, version=0) for dataset in datasets), key=repr),
            replace(self.tables.control.api_limits(), version=0),
        )


class WatchedBus(EventBus):
    """A bus that calls a function before each call."""

    def __init__(self, bus: EventBus, before_call: Callable[[], None]) -> None:
        self._bus = bus
        self._before_call = before_call

    def publish(self, notifications: Sequence[Notification]) -> None:
        """Publish notifications, unless the function raises."""
        self._before_call()
        self._bus.publish(notifications)


def test_a_refresh_is_published_once_although_its_feed_is_written_by_another_function_in_between() -> None:
    world, calls = World(), count()

    def write_the_feed_once() -> None:
        if len(world.bus.published) == 1 and next(calls) == 0:
            world.touch()

    world.apply(bodies.read_completed(NOON + MINUTE, ("xero", "invoices", "Complete")), write_the_feed_once)

    assert next(calls) > 1
    assert [type(each) for each in world.bus.published] == [CompanyDataRefreshed]


@settings(max_examples=150, deadline=None)
@given(sent=st.lists(messages, min_size=2, max_size=8), deleted=st.lists(deletions, max_size=2), seed=st.integers())
def test_webhooks_in_any_order_and_any_number_of_times_leave_the_same_tables(
    sent: list[str], deleted: list[str], seed: int
) -> None:
    random = Random(seed)
    deleted = deleted if random.random() < 0.2 else []
    bodies_sent = sent + deleted
    shuffled = bodies_sent + random.choices(bodies_sent, k=random.randint(0, len(bodies_sent)))
    random.shuffle(shuffled)
    once, often = World(), World()

    for body in bodies_sent:
        once.apply(body)
    for body in shuffled:
        often.apply(body)

    assert often.values == once.values
    assert len(often.bus.published) == len({each.id for each in often.bus.published})
    for connection in often.connections.values():
        assert not connection.lapsed_at or isinstance(often.last_published(connection.connection_id), RelinkNeeded)
    if not deleted:
        assert often.refreshes == once.refreshes


@settings(max_examples=100, deadline=None)
@given(
    sent=st.lists(messages, max_size=3),
    at=minutes,
    read=reads,
    initial=st.booleans(),
    modified=st.booleans(),
    forms=st.permutations(FORMS),
)
def test_the_same_read_in_several_forms_changes_nothing(
    sent: list[str], at: datetime, read: tuple[str, str, str], initial: bool, modified: bool, forms: list[str]
) -> None:
    """Of a first read, which is never said to have modified anything, only every other form says that it is one."""
    world = World()
    for body in sent:
        world.apply(body)
    first, *others = [
        bodies.read_completed(
            at, read, initial=initial and index % 2 == 0, modified=modified and not initial, form=form
        )
        for index, form in enumerate(forms)
    ]
    world.apply(first)
    items, writes, published = world.items, world.writes, list(world.bus.published)

    for body in others:
        world.apply(body)

    assert world.items == items
    assert world.writes == writes
    assert world.bus.published == published


@settings(max_examples=100, deadline=None)
@given(sent=st.lists(messages, max_size=3), at=minutes, read=reads, delays=st.permutations(range(len(FORMS))))
def test_forms_of_a_read_that_are_generated_one_after_the_other_are_published_once(
    sent: list[str], at: datetime, read: tuple[str, str, str], delays: list[int]
) -> None:
    world = World()
    for body in sent:
        world.apply(body)
    forms = [
        bodies.read_completed(at + delay * timedelta(milliseconds=200), read, form=form)
        for form, delay in zip(FORMS, delays, strict=True)
    ]
    world.apply(forms[0])
    refreshes, known = world.refreshes, world.history(read)

    for body in forms[1:]:
        world.apply(body)

    assert world.refreshes == refreshes
    assert len(world.history(read)) <= len(known) or read[2] != DatasetState.COMPLETE


class Killed(BaseException):
    """The function was stopped between two of its calls."""


KINDS = {
    "reads of two data types": bodies.read_completed(
        NOON + MINUTE, ("xero", "invoices", "Complete"), ("plaid", "bills", "Complete")
    ),
    "a read of a connection not known": bodies.read_completed(NOON, ("new", "invoices", "Complete")),
    "a read that was refused again": bodies.read_completed(NOON + 20 * MINUTE, ("xero", "bills", "AuthError")),
    "a read after that": bodies.read_completed(NOON + 30 * MINUTE, ("xero", "bills", "Complete")),
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
def test_a_message_writes_each_item_at_most_once_and_none_when_it_is_repeated(kind: str) -> None:
    world = World()
    items = world.items
    calls = world.writes

    world.apply(KINDS[kind])

    touched = {key for key, item in world.items.items() if item != items.get(key)} | (items.keys() - world.items.keys())
    written = world.writes - calls
    assert 0 < written <= len(touched)
    world.apply(KINDS[kind])
    assert world.writes == calls + written


@pytest.mark.parametrize("kind", KINDS)
def test_killed_between_any_two_calls_and_run_again_it_loses_nothing(kind: str) -> None:
    untouched = World()
    untouched.apply(KINDS[kind])
    assert len(untouched.bus.published) == len({each.id for each in untouched.bus.published})
    most, finished = 0, False
    while not finished:
        world, left = World(), iter(range(most))

        def call(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Killed

        try:
            world.apply(KINDS[kind], before_call=call)
            finished = True
        except Killed:
            world.apply(KINDS[kind])

        assert world.values == untouched.values, f"killed after {most} calls"
        assert world.published == untouched.published
        most += 1
    assert most > 2


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_another_message_applied_between_any_two_calls_changes_no_result(kind: str, other: str) -> None:
    """Among them the same message, applied twice at the same moment."""
    one_by_one = World()
    one_by_one.apply(KINDS[kind])
    one_by_one.apply(KINDS[other])
    for most in count():
        world, calls = World(), count()

        def call(world: World = world, calls: Iterator[int] = calls, most: int = most) -> None:
            if next(calls) == most:
                world.apply(KINDS[other])

        world.apply(KINDS[kind], before_call=call)
        if next(calls) <= most:
            break
        if world.values != one_by_one.values:
            world.check()
        assert world.values == one_by_one.values, f"applied after {most} calls"
        assert world.refreshes == one_by_one.refreshes or "company deleted" in kind + other
        for connection in world.connections.values():
            last = world.last_published(connection.connection_id)
            assert not connection.lapsed_at or isinstance(last, RelinkNeeded)
            assert "refused" in kind + other or not connection.is_linked or not isinstance(last, RelinkNeeded)
    assert most >= 2


def test_a_webhook_from_the_future_changes_nothing_when_it_is_repeated_and_a_later_read_mends_it() -> None:
    """SQS delivers a message again with the time at which it received it first."""
    world = World()
    world.apply(bodies.read_completed(LATER + timedelta(hours=20), ("xero", "invoices", "Complete")))
    feed, published = world.tables.feeds.get(bodies.COMPANY, "invoices", "xero"), len(world.bus.published)
    assert feed.succeeded_at == LATER

    world.apply(bodies.read_completed(LATER + timedelta(hours=20), ("xero", "invoices", "Complete")))
    assert world.tables.feeds.get(bodies.COMPANY, "invoices", "xero") == feed
    assert len(world.bus.published) == published

    world.apply(bodies.read_completed(LATER + MINUTE, ("xero", "invoices", "FetchError")))
    assert world.tables.feeds.get(bodies.COMPANY, "invoices", "xero").is_failing


def test_a_limit_that_was_reached_and_reset_is_recorded_in_any_order() -> None:
    reached = bodies.rate_limit(NOON, "reached", NOON + 60 * MINUTE)
    reset = bodies.rate_limit(NOON + MINUTE, "reset", NOON + 60 * MINUTE)
    for order in ((reached, reset), (reset, reached)):
        world = World()
        for body in order:
            world.apply(body)
        assert world.tables.control.api_limits().stopped_before(NOON + 2 * MINUTE) is None
    world = World()
    world.apply(reached)
    assert world.tables.control.api_limits().stopped_before(NOON + 2 * MINUTE) == NOON + 60 * MINUTE
