"""How many refreshes of each platform the caps on spending allow by now."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from freshness.policy.policy import Policy

AHEAD_OF_MONTH = timedelta(days=1)
"""How far spending may be ahead of an even spread over the month."""


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
