"""How many calls of Codat's daily quota this system may spend by now."""

import math
from datetime import UTC, datetime, time, timedelta

from freshness.domain.api_limits import ApiLimits
from freshness.policy.schema import Budget

DAY = timedelta(days=1)
AHEAD = timedelta(hours=6)
"""How far ahead of an even spread over the day spending may be: what is due at once need not wait for its hour."""


def allowance(budget: Budget, limits: ApiLimits, now: datetime) -> float:
    """Return how many refreshes may be queued now, each being one call; infinity until Codat has reported its quota.

    By any time of the day no more is spent than the share of the quota for the part of the day that has passed and
    `AHEAD`, calls for checks included; nor more than Codat reports to be left for everyone who uses this account.
    """
    if limits.daily_quota is None:
        return math.inf
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    passed = min(1.0, (now - midnight + AHEAD) / DAY)
    allowed = budget.share_of_quota * limits.daily_quota * passed - limits.calls_on(midnight.date())
    if limits.remaining is not None and limits.reported_at and limits.reported_at >= midnight:
        allowed = min(allowed, limits.remaining)
    return max(0, math.floor(allowed))
