"""What is learned of the fleet from queued feeds, when it is read from the control table, and when it is written."""

from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from freshness.aws.learned import REREAD, Learned
from freshness.domain.dataset import Trigger
from freshness.domain.feed import Feed
from freshness.domain.feed_values import Request
from freshness.domain.fleet import FeedSample, Fleet
from freshness.domain.rhythm import HourCounts, SyncInterval
from freshness.domain.sync_history import Sync, SyncHistory
from freshness.planning.decision import Action, Decision, Reason
from freshness.planning.samples import samples
from tests.unit.test_planner import NOON, company, policy
from tests.unit.test_rhythm import MONDAY, at


class Items:
    """A fake control table, with the number of reads and writes of the rates' item."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.reads = 0
        self.writes: list[str] = []

    def get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        self.reads += 1
        return self.items.get(key["name"])

    def get_many(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self.items[key["name"]] for key in keys if key["name"] in self.items]

    def put_always(self, item: dict[str, Any]) -> None:
        self.writes.append(item["name"])
        self.items[item["name"]] = item

    def add(self, key: dict[str, Any], numbers: dict[str, Any], values: dict[str, Any]) -> None:
        self.writes.append(key["name"])
        item = self.items.setdefault(key["name"], dict(key))
        item.update({name: item.get(name, 0) + number for name, number in numbers.items()} | values)


class Process:
    """A process with a clock that a test can let pass."""

    def __init__(self, items: Items) -> None:
        self.now = 1000.0
        self.learned = Learned(items, seconds=lambda: self.now, clock=lambda: MONDAY)  # type: ignore[arg-type]

    def learn(self, kind: str, rate: float, *intervals: SyncInterval) -> None:
        self.learned.add([FeedSample(kind, rate, intervals)])

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
    process.learned.add([FeedSample("Xero/invoices", 4.0, ())] * 500)
    before = len(items.writes)
    for _ in range(500):
        process.learn("Xero/invoices", 40.0)
    assert 5 < len(items.writes) - before < 50
    assert Process(items).expected() > 12


def test_a_new_kind_of_feed_is_written_at_once(process: Process, items: Items) -> None:
    process.learn("Xero/invoices", 4.0)
    process.learn("Xero/bills", 4.0)
    assert items.writes == ["fleet rates"] * 2


def test_a_rhythm_is_written_rarely_and_survives_that_the_process_reads_again(process: Process, items: Items) -> None:
    for number in range(200):
        process.learn("Xero/invoices", 2.0, SyncInterval(at(8), at(20), changed=True))
        if number % 20 == 0:
            process.now += REREAD

    assert 3 < items.writes.count("rhythm Xero/invoices") < 20
    process.now += REREAD
    kept = process.learned.fleet().kinds["Xero/invoices"]
    assert kept.hours.weight == pytest.approx(200, rel=0.02)
    assert kept.evidence == pytest.approx(float(items.items["rhythm Xero/invoices"]["evidence"]), abs=1)
    assert kept.evidence != 0


def test_two_processes_add_to_what_the_other_learned(items: Items) -> None:
    first, second = Process(items), Process(items)
    for _ in range(100):
        for each in (first, second):
            each.learn("Xero/invoices", 2.0, SyncInterval(MONDAY, at(12), changed=True))

    assert Process(items).learned.fleet().kinds["Xero/invoices"].hours.weight > 150


def test_a_rhythm_fits_into_one_write_unit(process: Process, items: Items) -> None:
    process.learn("Xero/invoices", 2.0, SyncInterval(MONDAY, at(12), changed=True))

    assert len(items.items["rhythm Xero/invoices"]["hours"]) < 1000


def test_when_data_is_read_is_counted_of_a_sample_of_the_requests_in_the_time_of_the_company(items: Items) -> None:
    process = Process(items)
    for number in range(4000):
        process.learned.count_read(str(number), at(number % 10 + 8), ZoneInfo("America/New_York"))

    assert 900 < len(items.writes) < 1100
    reads = Process(items).learned.fleet().reads
    assert reads.weight == pytest.approx(len(items.writes))
    assert [hour for hour, number in enumerate(reads.changes) if number] == list(range(3, 13))


def test_what_was_read_in_the_last_two_months_counts(items: Items) -> None:
    for days in (0, 20, 70):
        for number in range(400):
            Process(items).learned.count_read(str(number), MONDAY - timedelta(days=days), UTC)

    weights = [Process(items).learned.fleet().reads.weight, len(items.writes)]
    assert weights[0] == pytest.approx(weights[1] * 2 / 3)


def test_a_few_requests_hardly_show_when_data_is_read_and_many_do(items: Items) -> None:
    few, many = (HourCounts.of({9: number}) for number in (1, 1000))

    assert max(few.rhythm().by_hour) < 1.2
    assert many.rhythm().by_hour[9] > 20
    assert Fleet().when_read().by_hour == ()


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
        request=Request(at=NOON - 1.5 * hour, trigger=Trigger.PROMISE),
        changes_per_day=8.0,
    )


def test_nothing_is_learned_twice_from_a_feed_whose_call_failed_or_from_one_that_waits() -> None:
    feed, rules = synced(20), policy()
    (sample,) = samples(queued(feed), rules)
    assert len(sample.intervals) == 2

    waits = [decision._replace(action=Action.WAIT) for decision in queued(feed)]
    for decisions in (waits, queued(replace(feed, failed_calls=1))):
        assert not samples(decisions, rules)
    (first,) = samples(queued(replace(feed, request=None)), rules)
    assert len(first.intervals) == 19
    assert not samples(queued(synced(4)), rules)
