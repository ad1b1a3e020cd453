"""What may be spent by now: calls of Codat's daily quota, and refreshes of platforms with a cap on spending."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from freshness.domain.api_limits import ApiLimits
from freshness.domain.times import midnight
from freshness.policy.file.schema import Budget
from freshness.policy.policy import Policy

DAY = timedelta(days=1)
AHEAD_OF_DAY = timedelta(hours=6)
"""How far spending may be ahead of an even spread over the day: what is due at once need not wait for its hour."""
AHEAD_OF_MONTH = timedelta(days=1)
"""How far spending may be ahead of an even spread over the month."""


def call_budget(budget: Budget, limits: ApiLimits, now: datetime) -> float:
    """Return how many refreshes that promises need may be queued now, at one call each.

    It is infinity until Codat has reported its quota. The policy's share of the quota, without the part for callers who
    wait, is spread over the day. No more calls are made, checks included, than for the time that has passed and
    `AHEAD_OF_DAY`. Nor are more made than Codat reports to be left for all who use the account.
    """
    if limits.daily_quota is None:
        return math.inf
    today = midnight(now)
    passed = min(1.0, (now - today + AHEAD_OF_DAY) / DAY)
    calls = limits.calls_on(today.date()) - limits.on_demand_calls_on(today.date())
    allowed = budget.share_of_quota * (1 - budget.on_demand_share) * limits.daily_quota * passed - calls
    return _within_what_is_left(allowed, limits, today)


def on_demand_call_budget(budget: Budget, limits: ApiLimits, now: datetime) -> float:
    """Return how many calls may be made now for callers who wait, from the part of the quota that is reserved for them.

    That part is not spread over the day. The result is infinity until Codat has reported its quota.
    """
    if limits.daily_quota is None:
        return math.inf
    today = midnight(now)
    reserved = budget.share_of_quota * budget.on_demand_share * limits.daily_quota
    return _within_what_is_left(reserved - limits.on_demand_calls_on(today.date()), limits, today)


def renewed_at(now: datetime) -> datetime:
    """Return when Codat next renews the daily quota: at the next 00:00 UTC."""
    return midnight(now) + DAY


def month_of(now: datetime) -> str:
    """Return the month that a refresh counts towards, in UTC, such as `2026-11`."""
    return f"{now.astimezone(UTC):%Y-%m}"


def spend_left(policy: Policy, refreshes: Mapping[str, int], now: datetime) -> dict[str, float]:
    """Return how many more refreshes may be queued now, for each platform with a cap on spending.

    `refreshes` has how many were queued this month, by platform. The cap is spread over the month: no more of it is
    spent than for the time that has passed and `AHEAD_OF_MONTH`.
    """
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    passed = min(1.0, (now - start + AHEAD_OF_MONTH) / (end - start))
    return {
        platform: max(0, math.floor(cap.amount * passed / policy.prices[platform].amount) - refreshes.get(platform, 0))
        for platform, cap in policy.budget.spending.items()
    }


def _within_what_is_left(allowed: float, limits: ApiLimits, today: datetime) -> float:
    if limits.remaining is not None and limits.reported_at and limits.reported_at >= today:
        allowed = min(allowed, limits.remaining)
    return max(0, math.floor(allowed))
