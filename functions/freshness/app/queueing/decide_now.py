"""What to do about feeds now, with what may be used of Codat's quota and of the caps on spending."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from freshness.app.services import Services
from freshness.aws.control import Account
from freshness.domain.company import Company
from freshness.domain.feed import Feed
from freshness.planning.allowance import allowance, on_demand_allowance
from freshness.planning.decision import Decision
from freshness.planning.planner import decide
from freshness.planning.spending import affordable


def decide_now(
    services: Services,
    feeds: Iterable[Feed],
    companies: Mapping[str, Company],
    account: Account,
    now: datetime,
) -> list[Decision]:
    """Return the decisions about feeds."""
    policy = services.policy
    return decide(
        feeds,
        companies,
        policy,
        now,
        paused=account.is_paused,
        allowance=allowance(policy.budget, account.limits, now),
        on_demand_allowance=on_demand_allowance(policy.budget, account.limits, now),
        affordable=affordable_now(services, now),
    )


def affordable_now(services: Services, now: datetime) -> dict[str, float]:
    """Return how many refreshes may be queued now by platform, as `affordable`."""
    if not services.policy.budget.spending:
        return {}
    return affordable(services.policy, services.tables.spending.refreshes(now), now)
