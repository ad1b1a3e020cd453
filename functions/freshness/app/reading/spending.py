"""What was spent of the caps on spending."""

from collections.abc import Iterator
from datetime import datetime

from freshness.app.reading.views import SpendingView
from freshness.app.services import Services


def spending(services: Services, now: datetime) -> Iterator[SpendingView]:
    """Yield what was spent this month at each platform that has a cap."""
    policy = services.policy
    if policy.budget.spending:
        refreshes = services.tables.spending.refreshes(now)
        for platform, cap in policy.budget.spending.items():
            spent = refreshes[platform] * policy.prices[platform].amount
            yield SpendingView(platform=platform, spent=spent, cap=cap.amount, currency=cap.currency)
