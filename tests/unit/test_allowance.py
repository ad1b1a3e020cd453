"""How much of Codat's daily quota may be spent by now."""

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.api_limits import ApiLimits
from freshness.planning.allowance import allowance
from freshness.policy.schema import Budget

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
HALF = Budget(share_of_quota=0.5)


def reported(daily_quota: int, remaining: int, at: datetime = MIDNIGHT) -> ApiLimits:
    return ApiLimits().with_quota(daily_quota, remaining, at)


def test_until_codat_has_reported_a_quota_there_is_no_bound() -> None:
    assert allowance(HALF, ApiLimits(), MIDNIGHT) == math.inf


def test_the_share_is_spread_over_the_day_a_quarter_of_it_ahead() -> None:
    at_hours = [allowance(HALF, reported(1000, 1000), MIDNIGHT + hours * HOUR) for hours in (0, 6, 12, 18, 23)]

    assert at_hours == [125, 250, 375, 500, 500]


def test_what_was_spent_today_counts_and_what_was_spent_yesterday_does_not() -> None:
    limits = (
        reported(1000, 1000)
        .with_calls(100, MIDNIGHT - HOUR)
        .with_calls(50, MIDNIGHT + HOUR)
        .with_calls(20, MIDNIGHT + 2 * HOUR)
    )

    assert allowance(HALF, limits, MIDNIGHT + 6 * HOUR) == 250 - 70
    assert allowance(HALF, limits, MIDNIGHT + 24 * HOUR) == 125


def test_no_more_is_allowed_than_others_left_of_the_quota() -> None:
    assert allowance(HALF, reported(1000, 7, MIDNIGHT + HOUR), MIDNIGHT + 2 * HOUR) == 7
    assert allowance(HALF, reported(1000, 7, MIDNIGHT - HOUR), MIDNIGHT) == 125


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
        limits = limits.with_calls(int(min(wanted, allowance(Budget(share_of_quota=share), limits, now))), now)

    assert limits.calls_on(MIDNIGHT.date()) <= share * 1000
