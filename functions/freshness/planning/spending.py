"""How many refreshes of each platform the caps on spending allow by now."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from freshness.policy.policy import Policy

AHEAD_OF_MONTH = timedelta(days=1)
"""How far ahead of an even spread over the month spending may be."""


def month_of(now: datetime) -> str:
    """Return the month, in UTC, to which a refresh counts, such as `2026-11`."""
    return f"{now.astimezone(UTC):%Y-%m}"


def spend_left(policy: Policy, refreshes: Mapping[str, int], now: datetime) -> dict[str, float]:
    """Return how many more refreshes may be queued now, for each platform with a cap on spending.

    `refreshes` were queued in the month so far. By any time of the month no more is spent than the cap for the part of
    the month that has passed, and `AHEAD_OF_MONTH`.
    """
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    passed = min(1.0, (now - start + AHEAD_OF_MONTH) / (end - start))
    return {
        platform: max(0, math.floor(cap.amount * passed / policy.prices[platform].amount) - refreshes.get(platform, 0))
        for platform, cap in policy.budget.spending.items()
    }
