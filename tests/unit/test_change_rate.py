"""How often a feed changes, as learned from what its syncs found, and what follows from it."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.change_rate import FleetRates, Observation, change_rate, confident_for, value_of_refreshing

SPANS = st.floats(1e-9, 1e4)
OBSERVATIONS = st.lists(st.builds(Observation, SPANS, st.booleans()), max_size=31)
RATES = st.floats(1e-4, 1e4)


def observed(rate: float, days: float, count: int) -> list[Observation]:
    """What would be observed, on the whole, of a feed of that rate that is refreshed evenly."""
    changed = round(count * -math.expm1(-rate * days))
    return [Observation(days, index < changed) for index in range(count)]


@pytest.mark.parametrize("rate", [0.1, 1.0, 3.0])
def test_what_is_learned_is_the_rate_that_explains_what_was_observed(rate: float) -> None:
    assert change_rate(observed(rate, 0.5, 1000), expected=1.0) == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize("expected", [0.01, 1.0, 100.0])
def test_where_nothing_was_observed_the_rate_is_what_was_expected(expected: float) -> None:
    assert change_rate([], expected) == pytest.approx(expected, rel=0.05)


def test_syncs_of_different_spans_are_weighed_as_the_process_has_it() -> None:
    long_ago_or_short = [Observation(10, True), *[Observation(0.1, False)] * 20]

    # Two changes expected in twelve days or so; a plain share of changed syncs would say one in twenty-one.
    assert 0.05 < change_rate(long_ago_or_short, expected=0.3) < 0.5


@given(observations=OBSERVATIONS, expected=RATES)
def test_whatever_was_observed_the_rate_is_finite_and_positive(
    observations: list[Observation], expected: float
) -> None:
    assert 0 < change_rate(observations, expected) < math.inf


@given(count=st.integers(1, 31), days=SPANS, changed=st.booleans(), expected=RATES)
def test_all_changed_or_none_gives_a_rate_on_that_side_of_what_was_expected(
    count: int, days: float, changed: bool, expected: float
) -> None:
    rate = change_rate([Observation(days, changed)] * count, expected)

    # Rounding may move it by a twentieth.
    assert rate >= 0.94 * expected if changed else rate <= 1.06 * expected


@given(observations=OBSERVATIONS, expected=RATES, order=st.randoms(use_true_random=False))
def test_the_order_of_what_was_observed_does_not_matter(
    observations: list[Observation], expected: float, order: "object"
) -> None:
    shuffled = list(observations)
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    assert change_rate(shuffled, expected) == pytest.approx(change_rate(observations, expected), rel=0.11)


def test_confidence_asks_for_a_refresh_when_it_is_as_likely_as_not_that_something_changed() -> None:
    assert confident_for(0.5, rate=2.0) == timedelta(days=math.log(2) / 2)
    assert confident_for(0.999, rate=1e-9) > timedelta(days=365)


@given(weight=st.floats(0.01, 100), rate=RATES, days=st.floats(0, 1e4))
def test_the_value_of_refreshing_lies_between_none_and_the_time_it_can_gain(
    weight: float, rate: float, days: float
) -> None:
    assert 0 <= value_of_refreshing(weight, rate, days) <= weight / rate * (1 + 1e-9)


@given(rate=RATES, days=st.floats(1e-6, 1e3), more=st.floats(1.01, 10))
def test_the_value_of_refreshing_grows_with_age(rate: float, days: float, more: float) -> None:
    assert value_of_refreshing(1, rate, days * more) >= value_of_refreshing(1, rate, days) * (1 - 1e-9)


def test_what_never_changes_is_worth_nothing_and_the_series_meets_the_formula() -> None:
    assert value_of_refreshing(1, 1e-12, 1) == pytest.approx(0, abs=1e-12)
    just_below, just_above = value_of_refreshing(1, 0.999e-3, 1), value_of_refreshing(1, 1.001e-3, 1)
    assert just_above / just_below == pytest.approx(1.002, rel=2e-3)


def test_the_fleet_tells_what_to_expect_of_a_feed_of_its_kind() -> None:
    rates = FleetRates().with_feeds([("Xero", "invoices", 1.0), ("Xero", "invoices", 100.0), ("Xero", "bills", 5.0)])

    assert rates.expected("Xero", "invoices") == pytest.approx(10.0)
    assert rates.expected("Sage 50", "invoices") is None
