"""How much of Codat's daily quota may be spent by now."""

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.api_limits import ApiLimits
from freshness.planning.budgets import call_budget, on_demand_call_budget, renewed_at
from freshness.policy.file.schema import Budget
from tests.builders import HOUR

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
HALF = Budget(share_of_quota=0.5, on_demand_share=0)
SPLIT = Budget(share_of_quota=0.5, on_demand_share=0.2)


def reported(daily_quota: int, remaining: int, at: datetime = MIDNIGHT) -> ApiLimits:
    return ApiLimits().with_quota(daily_quota, remaining, at)


def test_until_codat_has_reported_a_quota_there_is_no_bound() -> None:
    assert call_budget(HALF, ApiLimits(), MIDNIGHT) == math.inf


def test_the_share_is_spread_over_the_day_a_quarter_of_it_ahead() -> None:
    at_hours = [call_budget(HALF, reported(1000, 1000), MIDNIGHT + hours * HOUR) for hours in (0, 6, 12, 18, 23)]

    assert at_hours == [125, 250, 375, 500, 500]


def test_what_was_spent_today_counts_and_what_was_spent_yesterday_does_not() -> None:
    limits = (
        reported(1000, 1000)
        .with_calls(100, MIDNIGHT - HOUR)
        .with_calls(50, MIDNIGHT + HOUR)
        .with_calls(20, MIDNIGHT + 2 * HOUR)
    )

    assert call_budget(HALF, limits, MIDNIGHT + 6 * HOUR) == 250 - 70
    assert call_budget(HALF, limits, MIDNIGHT + 24 * HOUR) == 125


def test_no_more_is_allowed_than_others_left_of_the_quota() -> None:
    assert call_budget(HALF, reported(1000, 7, MIDNIGHT + HOUR), MIDNIGHT + 2 * HOUR) == 7
    assert call_budget(HALF, reported(1000, 7, MIDNIGHT - HOUR), MIDNIGHT) == 125


@given(
    minutes=st.lists(st.integers(0, 24 * 60 - 1), max_size=30),
    share=st.floats(0.01, 1),
    wanted=st.integers(1, 200),
)
def test_whoever_spends_what_is_allowed_stays_within_the_share_of_the_day(
    minutes: list[int], share: float, wanted: int
) -> None:
    limits = reported(1000, 1000)
    for minute in sorted(minutes):
        now = MIDNIGHT + timedelta(minutes=minute)
        limits = limits.with_calls(
            int(min(wanted, call_budget(Budget(share_of_quota=share, on_demand_share=0), limits, now))), now
        )

    assert limits.calls_on(MIDNIGHT.date()) <= share * 1000


def test_what_is_reserved_for_callers_is_not_spread_over_the_day_and_not_spent_by_promises() -> None:
    limits = reported(1000, 1000)

    assert [on_demand_call_budget(SPLIT, limits, MIDNIGHT + hours * HOUR) for hours in (0, 12, 23)] == [100, 100, 100]
    assert [call_budget(SPLIT, limits, MIDNIGHT + hours * HOUR) for hours in (0, 6, 12, 18)] == [100, 200, 300, 400]


def test_callers_and_promises_spend_only_their_own_share() -> None:
    limits = reported(1000, 1000).with_calls(70, MIDNIGHT + HOUR, on_demand=70).with_calls(30, MIDNIGHT + HOUR)

    assert on_demand_call_budget(SPLIT, limits, MIDNIGHT + 2 * HOUR) == 100 - 70
    assert call_budget(SPLIT, limits, MIDNIGHT + 18 * HOUR) == 400 - 30
    assert on_demand_call_budget(SPLIT, limits, renewed_at(MIDNIGHT + 2 * HOUR)) == 100
    assert limits.with_calls(5, MIDNIGHT + 25 * HOUR).on_demand_calls_on((MIDNIGHT + 25 * HOUR).date()) == 0


def test_callers_may_not_spend_more_than_others_left_of_the_quota() -> None:
    assert on_demand_call_budget(SPLIT, reported(1000, 7, MIDNIGHT + HOUR), MIDNIGHT + 2 * HOUR) == 7
    assert on_demand_call_budget(SPLIT, ApiLimits(), MIDNIGHT) == math.inf
