"""How fast error budgets are used up, and when that is too fast."""

from datetime import timedelta

import pytest

from freshness.domain.promises.promise import AttainmentKey
from freshness.domain.slo.attainment import HOUR, Breakdown, PeriodRecord, by_period, periods
from freshness.domain.slo.breach import BreachTime
from freshness.domain.slo.burn_rate import WINDOWS, burn
from tests.builders import MINUTE, NOON

FLEET = {(Breakdown.RULE, "[default]"): 100, (Breakdown.RULE, "small"): 5, (Breakdown.TAG, "tier=gold"): 90}
"""How many feeds are promised. Those of the tag are of these rules: they must not count twice."""


def late(feeds: int, for_: timedelta, *, ago: timedelta = timedelta(0), rule: str = "[default]") -> list[BreachTime]:
    """Return breaches of feeds that lasted until some time ago."""
    end = NOON - ago
    group = AttainmentKey(rule=rule)
    return [BreachTime(data_type="x", group=group, waiting=False, start=end - for_, end=end) for _ in range(feeds)]


def rate(
    open_: list[BreachTime], ended: list[BreachTime] | None = None, objective: float | None = 0.99, counted_ago: int = 0
) -> float:
    """Return the burn rate at noon, with feeds that were last counted some hours ago."""
    times = by_period(ended or [], NOON)
    hours = list(periods(NOON - 40 * HOUR, NOON, NOON))
    records = [PeriodRecord(period=each, times=times.get(each, {})) for each in hours]
    counted = len(hours) - 1 - counted_ago
    records[counted] = PeriodRecord(period=hours[counted], times=times.get(hours[counted], {}), feeds=FLEET)
    first = PeriodRecord(period=hours[0], feeds=FLEET)
    return burn([first, *records[1:]], open_, lambda _: objective, NOON)


def test_too_fast_is_two_percent_of_the_budget_of_30_days_in_an_hour_or_five_in_six_hours() -> None:
    used_up = {window.length: window.rate * (window.length / timedelta(days=30)) for window in WINDOWS}

    assert used_up == {HOUR: pytest.approx(0.02), 6 * HOUR: pytest.approx(0.05)}


def test_nothing_burns_while_every_promise_is_kept() -> None:
    assert rate([]) == 0


def test_an_outage_is_too_fast_within_the_hour() -> None:
    assert rate(late(100, 5 * MINUTE)) < 1
    assert rate(late(100, 20 * MINUTE)) >= 1


def test_a_few_percent_of_the_feeds_are_too_many_only_if_they_are_late_for_hours() -> None:
    assert rate(late(8, 2 * HOUR)) < 1
    assert rate(late(8, 6 * HOUR)) >= 1


def test_an_alarm_ends_with_the_trouble() -> None:
    assert rate([], late(100, 3 * HOUR, ago=MINUTE)) == 0


def test_one_feed_is_never_too_much_of_a_large_fleet_nor_of_a_rule_with_few_feeds() -> None:
    assert rate(late(1, 24 * HOUR)) < 1
    assert rate(late(1, 24 * HOUR, rule="small")) < 1


@pytest.mark.parametrize("objective", [0.9, 0.5, 0.1])
def test_half_of_all_feeds_are_too_many_for_any_objective(objective: float) -> None:
    assert rate(late(60, 6 * HOUR), objective=objective) >= 1


def test_a_higher_objective_is_burnt_faster() -> None:
    assert rate(late(2, HOUR), objective=0.999) > rate(late(2, HOUR), objective=0.99)


def test_without_an_objective_nothing_burns() -> None:
    assert rate(late(100, 6 * HOUR), objective=None) == 0


def test_an_outage_in_which_companies_cannot_be_listed_does_not_end_the_alarm() -> None:
    assert rate(late(100, 20 * HOUR), counted_ago=20) >= 1


def test_feeds_of_small_rules_are_too_many_only_together_with_all_others() -> None:
    """A rule with few feeds is watched by the sum of all rules alone."""
    small = late(5, 6 * HOUR, rule="small")
    assert rate(small) < 1
    assert rate([*small, *late(4, 6 * HOUR)]) >= 1
