"""Change rates: their estimation from the syncs of a feed, and what follows from them."""

import math
from collections.abc import Iterable
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.learned.change_rate import (
    Observation,
    change_rate,
    confident_days,
    value_of_first_read,
    value_of_refreshing,
)

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


def test_the_last_observations_count_more_than_the_oldest() -> None:
    quiet, busy = [Observation(0.5, False)] * 6, [Observation(0.5, True)] * 6

    assert change_rate(quiet + busy, expected=1.0) > 2 * change_rate(busy + quiet, expected=1.0)


@pytest.mark.parametrize("expected", [0.01, 1.0, 100.0])
def test_without_observations_the_rate_is_the_expected_rate(expected: float) -> None:
    assert change_rate([], expected) == pytest.approx(expected, rel=0.05)


def test_observations_of_different_spans_are_weighted_by_the_poisson_model() -> None:
    observations = [Observation(10, True), *[Observation(0.1, False)] * 20]

    # At least one change in 12 days. The plain share of syncs that found a change would give 1 in 21.
    assert 0.05 < change_rate(observations, expected=0.3) < 0.5


@given(observations=OBSERVATIONS, expected=RATES)
def test_the_rate_is_finite_and_positive_for_any_observations(observations: list[Observation], expected: float) -> None:
    assert 0 < change_rate(observations, expected) < math.inf


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


@given(weight=st.floats(0.01, 100), rate=RATES, days=st.floats(0, 1e4))
def test_the_value_of_refreshing_is_between_zero_and_weight_divided_by_rate(
    weight: float, rate: float, days: float
) -> None:
    assert 0 <= value_of_refreshing(weight, rate, days) <= weight / rate * (1 + 1e-9)


@given(rate=RATES, days=st.floats(1e-6, 1e3), more=st.floats(1.01, 10))
def test_the_value_of_refreshing_grows_with_age(rate: float, days: float, more: float) -> None:
    assert value_of_refreshing(1, rate, days * more) >= value_of_refreshing(1, rate, days) * (1 - 1e-9)


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
