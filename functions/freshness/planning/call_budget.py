"""How many calls of Codat's daily quota this system may spend by now."""

import math
from datetime import UTC, datetime, time, timedelta

from freshness.domain.api_limits import ApiLimits
from freshness.policy.file.schema import Budget

DAY = timedelta(days=1)
AHEAD_OF_DAY = timedelta(hours=6)
"""How far ahead of an even spread over the day spending may be: what is due at once need not wait for its hour."""


def call_budget(budget: Budget, limits: ApiLimits, now: datetime) -> float:
    """Return how many refreshes that promises need may be queued now, each being one call.

    It is infinity until Codat has reported its quota. By any time of the day no more is spent than the share of the
    quota for the part of the day that has passed and `AHEAD_OF_DAY`, calls for checks included, without the part of it
    that is reserved for callers who wait; nor more than Codat reports to be left for everyone who uses this account.
    """
    if limits.daily_quota is None:
        return math.inf
    midnight = _midnight(now)
    passed = min(1.0, (now - midnight + AHEAD_OF_DAY) / DAY)
    calls = limits.calls_on(midnight.date()) - limits.on_demand_calls_on(midnight.date())
    allowed = budget.share_of_quota * (1 - budget.on_demand_share) * limits.daily_quota * passed - calls
    return _within_what_is_left(allowed, limits, midnight)


def on_demand_call_budget(budget: Budget, limits: ApiLimits, now: datetime) -> float:
    """Return how many calls may be made now for callers who wait, from the part of the quota that is reserved for them.

    It is not spread over the day, and infinity until Codat has reported its quota.
    """
    if limits.daily_quota is None:
        return math.inf
    midnight = _midnight(now)
    reserved = budget.share_of_quota * budget.on_demand_share * limits.daily_quota
    return _within_what_is_left(reserved - limits.on_demand_calls_on(midnight.date()), limits, midnight)


def renewed_at(now: datetime) -> datetime:
    """Return when the quota, and so each share of it, is renewed."""
    return _midnight(now) + DAY


def _within_what_is_left(allowed: float, limits: ApiLimits, midnight: datetime) -> float:
    if limits.remaining is not None and limits.reported_at and limits.reported_at >= midnight:
        allowed = min(allowed, limits.remaining)
    return max(0, math.floor(allowed))


def _midnight(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date(), time(), UTC)
