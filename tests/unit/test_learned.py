"""What is learned of how often feeds change and how long syncs take, and what follows from it."""

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from random import Random
from statistics import fmean
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimate.memory_dynamodb import MemoryDynamoDB
from freshness.aws.dynamodb.control_items.learned import REREAD, Learned
from freshness.aws.dynamodb.table import Table
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.datasets.sync_history import Sync, SyncHistory
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Request
from freshness.domain.learned.change_rate import (
    Observation,
    change_rate,
    confident_days,
    value_of_first_read,
    value_of_refreshing,
)
from freshness.domain.learned.learned_rates import FeedSample
from freshness.planning.decision import Action, Decision, Reason, samples
from freshness.planning.sync_durations import PRIOR_SAMPLES, SyncDurations
from tests.builders import NOON
from tests.unit.test_planner import company


class Process:
    """A process with a clock that a test can let pass, over the same table as others."""

    def __init__(self, dynamodb: MemoryDynamoDB) -> None:
        self.now = 1000.0
        self.learned = Learned(Table(cast(Any, dynamodb), "control"), seconds=lambda: self.now)

    def learn(self, kind: str, rate: float) -> None:
        self.learned.add([FeedSample(kind, rate)])

    def expected(self) -> float:
        return self.learned.fleet().expected("Xero", "invoices") or 0.0


def test_what_was_learned_is_read_once_an_hour() -> None:
    process = Process(dynamodb := MemoryDynamoDB())
    for _ in range(60):
        process.learned.fleet()
    assert dynamodb.calls["GetItem"] == 1
    process.now += REREAD
    process.learned.fleet()
    assert dynamodb.calls["GetItem"] == 2


def test_rates_are_written_only_when_they_changed_significantly_or_of_a_new_kind() -> None:
    process = Process(dynamodb := MemoryDynamoDB())
    for _ in range(1000):
        process.learn("Xero/invoices", 4.0)
    # For the 1st, 2nd, 4th, …, 256th feed, after which the weight of a feed hardly changes.
    assert dynamodb.writes["control"] == 9
    assert process.expected() == pytest.approx(4.0)
    process.learn("Xero/bills", 4.0)
    assert dynamodb.writes["control"] == 10


def test_small_changes_of_a_rate_that_add_up_are_written() -> None:
    process = Process(dynamodb := MemoryDynamoDB())
    process.learned.add([FeedSample("Xero/invoices", 4.0)] * 500)
    before = dynamodb.writes["control"]
    for _ in range(500):
        process.learn("Xero/invoices", 40.0)
    assert 5 < dynamodb.writes["control"] - before < 50
    assert Process(dynamodb).expected() > 12


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


def test_two_processes_add_to_what_the_other_learned() -> None:
    first, second = Process(dynamodb := MemoryDynamoDB()), Process(dynamodb)
    for _ in range(100):
        first.learn("Xero/invoices", 2.0)
        second.learn("Xero/invoices", 8.0)
    assert Process(dynamodb).expected() == pytest.approx(4.0, rel=0.2)


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


SPANS = st.floats(1e-9, 1e4)
OBSERVATIONS = st.lists(st.builds(Observation, SPANS, st.booleans()), max_size=31)
RATES = st.floats(1e-4, 1e4)


def observed(random: Random, rate: float, days: float, count: int) -> list[Observation]:
    """Return observations of a feed with this rate that is refreshed every `days` days."""
    return [Observation(days, random.random() < -math.expm1(-rate * days)) for _ in range(count)]


def typical(rates: Iterable[float]) -> float:
    return math.exp(fmean(map(math.log, rates)))


@pytest.mark.parametrize("rate", [0.1, 1.0, 3.0])
def test_the_rate_is_typically_the_one_that_generated_the_observations(rate: float) -> None:
    random = Random(1)
    found = [change_rate(observed(random, rate, 0.5, 31), expected=1.0) for _ in range(400)]
    assert typical(found) == pytest.approx(rate, rel=0.2)


@pytest.mark.parametrize(("before", "after"), [(0.4, 4.0), (4.0, 0.4)])
def test_a_tenfold_jump_of_the_rate_is_mostly_followed_within_four_syncs(before: float, after: float) -> None:
    random = Random(1)
    found = [
        change_rate([*observed(random, before, 0.25, 26), *observed(random, after, 0.25, 4)], before)
        for _ in range(300)
    ]

    # On a logarithmic scale, that is more than half of the way.
    assert abs(math.log(typical(found) / after)) < abs(math.log(before / after)) / 2


def test_the_last_observations_count_more_than_the_oldest_and_all_by_the_poisson_model() -> None:
    quiet, busy = [Observation(0.5, False)] * 6, [Observation(0.5, True)] * 6
    assert change_rate(quiet + busy, expected=1.0) > 2 * change_rate(busy + quiet, expected=1.0)
    # At least one change in 12 days. The plain share of syncs that found a change would give 1 in 21.
    observations = [Observation(10, True), *[Observation(0.1, False)] * 20]
    assert 0.05 < change_rate(observations, expected=0.3) < 0.5


@given(observations=OBSERVATIONS, expected=RATES)
def test_the_rate_is_finite_and_positive_for_any_observations_and_without_any_the_expected_rate(
    observations: list[Observation], expected: float
) -> None:
    assert 0 < change_rate(observations, expected) < math.inf
    assert change_rate([], expected) == pytest.approx(expected, rel=0.06)


@given(count=st.integers(1, 31), days=SPANS, changed=st.booleans(), expected=RATES)
def test_only_changes_raise_the_expected_rate_and_no_changes_lower_it(
    count: int, days: float, changed: bool, expected: float
) -> None:
    rate = change_rate([Observation(days, changed)] * count, expected)
    # Rounding to two significant digits may move the rate by up to 5%.
    assert rate >= 0.94 * expected if changed else rate <= 1.06 * expected


def test_confident_days_are_those_until_the_probability_of_no_change_falls_to_the_confidence() -> None:
    assert confident_days(0.5, rate=2.0) == math.log(2) / 2
    assert confident_days(0.999, rate=1e-9) > 365


@given(weight=st.floats(0.01, 100), rate=RATES, days=st.floats(0, 1e4), more=st.floats(1.01, 10))
def test_the_value_of_refreshing_grows_with_age_from_zero_to_weight_divided_by_rate(
    weight: float, rate: float, days: float, more: float
) -> None:
    value, later = (value_of_refreshing(weight, rate, each) for each in (days, days * more))
    assert 0 <= value * (1 - 1e-9) <= later <= weight / rate * (1 + 1e-9)


def test_the_value_of_refreshing_is_zero_without_changes_and_the_series_joins_the_formula() -> None:
    assert value_of_refreshing(1, 1e-12, 1) == pytest.approx(0, abs=1e-12)
    just_below, just_above = value_of_refreshing(1, 0.999e-3, 1), value_of_refreshing(1, 1.001e-3, 1)
    assert just_above / just_below == pytest.approx(1.002, rel=2e-3)


@given(rate=RATES)
def test_a_first_read_is_worth_a_part_of_the_next_day_the_less_the_faster_the_data_changes(rate: float) -> None:
    value = value_of_first_read(1, rate)
    assert 0 < value <= min(1, 1 / rate)
    assert value_of_first_read(1, 2 * rate) < value
    assert value_of_first_read(3, rate) == pytest.approx(3 * value)
