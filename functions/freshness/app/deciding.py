"""What to do about feeds now, with what may be used of Codat's quota and of the caps on spending."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from freshness.aws.control import Account
from freshness.aws.tables import Tables
from freshness.domain.company import Company
from freshness.domain.feed import Feed
from freshness.planning.allowance import allowance, on_demand_allowance
from freshness.planning.decision import Decision
from freshness.planning.planner import decide
from freshness.planning.spending import affordable
from freshness.policy.policy import Policy


def decide_now(
    tables: Tables,
    policy: Policy,
    feeds: Iterable[Feed],
    companies: Mapping[str, Company],
    account: Account,
    now: datetime,
) -> list[Decision]:
    """Return the decisions about feeds."""
    return decide(
        feeds,
        companies,
        policy,
        now,
        paused=account.is_paused,
        allowance=allowance(policy.budget, account.limits, now),
        on_demand_allowance=on_demand_allowance(policy.budget, account.limits, now),
        affordable=affordable_now(tables, policy, now),
    )


def affordable_now(tables: Tables, policy: Policy, now: datetime) -> dict[str, float]:
    """Return how many refreshes may be queued now of each platform that has a cap on spending."""
    if not policy.budget.spending:
        return {}
    return affordable(policy, tables.spending.refreshes(now), now)
