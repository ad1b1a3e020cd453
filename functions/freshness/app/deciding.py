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
    share: float = 1.0,
) -> list[Decision]:
    """Return the decisions about feeds. `share` is the part of what may be used that a tick has."""
    return decide(
        feeds,
        companies,
        policy,
        now,
        paused=account.is_paused,
        allowance=share * allowance(policy.budget, account.limits, now),
        on_demand_allowance=share * on_demand_allowance(policy.budget, account.limits, now),
        affordable=affordable_now(tables, policy, now, share),
    )


def affordable_now(tables: Tables, policy: Policy, now: datetime, share: float = 1.0) -> dict[str, float]:
    """Return how many refreshes may be queued now by platform, as `affordable`, of which a tick has this share."""
    if not policy.budget.spending:
        return {}
    left = affordable(policy, tables.spending.refreshes(now), now)
    return {platform: share * refreshes for platform, refreshes in left.items()}
