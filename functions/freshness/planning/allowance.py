"""How many calls of Codat's daily quota are this system's to spend by now."""

import math
from datetime import UTC, datetime, time, timedelta

from freshness.domain.api_limits import ApiLimits
from freshness.policy.schema import Budget

DAY = timedelta(days=1)
AHEAD = timedelta(hours=6)
"""How far ahead of the even spread over the day spending may be: what is due at once need not wait for its hour."""


def allowance(budget: Budget, quota: ApiLimits, now: datetime) -> float:
    """How many refreshes may be queued now, each being one call; without bound until Codat has told of its quota.

    By any time of the day no more is spent than the part of the day that is gone and `AHEAD` are worth, calls for
    checks included, nor more than Codat says is left for all who call with this account.
    """
    if quota.limit is None:
        return math.inf
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    gone = min(1.0, (now - midnight + AHEAD) / DAY)
    allowed = budget.share_of_quota * quota.limit * gone - quota.calls_on(midnight.date())
    if quota.remaining is not None and quota.told_at and quota.told_at >= midnight:
        allowed = min(allowed, quota.remaining)
    return max(0, math.floor(allowed))
