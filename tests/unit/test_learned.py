"""What is learned of the fleet from queued feeds, when it is read from the control table, and when it is written."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from freshness.aws.dynamodb.control_items.learned import REREAD, Learned
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.datasets.sync_history import Sync, SyncHistory
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Request
from freshness.domain.learned.learned_rates import FeedSample
from freshness.planning.decision import Action, Decision, Reason, samples
from freshness.planning.sync_durations import PRIOR_SAMPLES, SyncDurations
from tests.unit.test_planner import NOON, company


class Items:
    """A fake control table, with the number of reads and writes of the rates' item."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.reads = 0
        self.writes: list[str] = []

    def get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        self.reads += 1
        return self.items.get(key["name"])

    def put_always(self, item: dict[str, Any]) -> None:
        self.writes.append(item["name"])
        self.items[item["name"]] = item


class Process:
    """A process with a clock that a test can let pass."""

    def __init__(self, items: Items) -> None:
        self.now = 1000.0
        self.learned = Learned(items, seconds=lambda: self.now)  # type: ignore[arg-type]

    def learn(self, kind: str, rate: float) -> None:
        self.learned.add([FeedSample(kind, rate)])

    def expected(self) -> float:
        return self.learned.fleet().expected("Xero", "invoices") or 0.0


@pytest.fixture
def items() -> Items:
    return Items()


@pytest.fixture
def process(items: Items) -> Process:
    return Process(items)


def test_what_was_learned_is_read_once_an_hour(process: Process, items: Items) -> None:
    for _ in range(60):
        process.learned.fleet()
    assert items.reads == 1
    process.now += REREAD
    process.learned.fleet()
    assert items.reads == 2


def test_rates_are_written_only_when_they_changed_significantly(process: Process, items: Items) -> None:
    for _ in range(1000):
        process.learn("Xero/invoices", 4.0)
    # For the 1st, 2nd, 4th, …, 256th feed, after which the weight of a feed hardly changes.
    assert items.writes == ["fleet rates"] * 9
    assert process.expected() == pytest.approx(4.0)


def test_small_changes_of_a_rate_that_add_up_are_written(process: Process, items: Items) -> None:
    process.learned.add([FeedSample("Xero/invoices", 4.0)] * 500)
    before = len(items.writes)
    for _ in range(500):
        process.learn("Xero/invoices", 40.0)
    assert 5 < len(items.writes) - before < 50
    assert Process(items).expected() > 12


def test_a_new_kind_of_feed_is_written_at_once(process: Process, items: Items) -> None:
    process.learn("Xero/invoices", 4.0)
    process.learn("Xero/bills", 4.0)
    assert items.writes == ["fleet rates"] * 2


def queued(feed: Feed) -> list[Decision]:
    return [Decision(feed=feed, company=company(), action=Action.QUEUE, reason=Reason.DUE)]


def synced(count: int) -> Feed:
    hour = timedelta(hours=1)
    syncs = [Sync(ended_at=NOON - number * hour, records_modified=number % 3 == 0) for number in reversed(range(count))]
    return Feed(
        company_id="company",
        data_type="invoices",
        connection_id="Xero",
        history=SyncHistory.of(syncs),
        last_dataset=Request(at=NOON - 1.5 * hour, trigger=Trigger.PROMISE),
        changes_per_day=8.0,
    )


def test_two_processes_add_to_what_the_other_learned(items: Items) -> None:
    first, second = Process(items), Process(items)
    for _ in range(100):
        first.learn("Xero/invoices", 2.0)
        second.learn("Xero/invoices", 8.0)

    assert Process(items).expected() == pytest.approx(4.0, rel=0.2)


def test_nothing_is_learned_from_a_feed_whose_call_failed_or_that_waits_or_that_has_few_syncs() -> None:
    feed = synced(20)
    assert samples(queued(feed)) == [FeedSample("Xero/invoices", 8.0)]

    waits = [decision._replace(action=Action.WAIT) for decision in queued(feed)]
    for decisions in (waits, queued(replace(feed, failed_calls=1)), queued(synced(4))):
        assert not samples(decisions)


def test_the_typical_sync_time_of_a_platform_follows_the_median_of_what_was_observed() -> None:
    second, xero = timedelta(seconds=1), ("Xero", "invoices")

    learned = SyncDurations().learned({xero: [1 * second, 9 * second, 3 * second]})
    assert learned.typical(*xero) == 3 * second
    assert SyncDurations().learned({xero: [1 * second, 3 * second]}).typical(*xero) == 2 * second
    assert learned.learned({xero: [9 * second] * PRIOR_SAMPLES}).typical(*xero) == 6 * second
    assert learned.typical("Xero", "bills") is None
