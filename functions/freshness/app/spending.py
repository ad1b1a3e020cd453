"""What was spent of the caps on spending."""

from collections.abc import Iterator
from datetime import datetime

from freshness.app.views import SpendingView
from freshness.aws.tables import Tables
from freshness.policy.policy import Policy


def spending(tables: Tables, policy: Policy, now: datetime) -> Iterator[SpendingView]:
    """Yield what was spent this month at each platform that has a cap."""
    if policy.budget.spending:
        refreshes = tables.spending.refreshes(now)
        for platform, cap in policy.budget.spending.items():
            spent = refreshes[platform] * policy.prices[platform].amount
            yield SpendingView(platform=platform, spent=spent, cap=cap.amount, currency=cap.currency)
