"""What the caps on spending leave, and what was spent of them."""

from collections.abc import Iterator
from datetime import datetime

from freshness.app.views import SpendingView
from freshness.aws.tables import Tables
from freshness.planning.spending import affordable
from freshness.policy.policy import Policy


def affordable_now(tables: Tables, policy: Policy, now: datetime, share: float = 1.0) -> dict[str, float]:
    """Return how many refreshes may be queued now by platform, as `affordable`, of which a tick has this share."""
    if not policy.budget.spending:
        return {}
    left = affordable(policy, tables.spending.refreshes(now), now)
    return {platform: share * refreshes for platform, refreshes in left.items()}


def spending(tables: Tables, policy: Policy, now: datetime) -> Iterator[SpendingView]:
    """Yield what was spent this month at each platform that has a cap."""
    if policy.budget.spending:
        refreshes = tables.spending.refreshes(now)
        for platform, cap in policy.budget.spending.items():
            spent = refreshes[platform] * policy.prices[platform].amount
            yield SpendingView(platform=platform, spent=spent, cap=cap.amount, currency=cap.currency)
