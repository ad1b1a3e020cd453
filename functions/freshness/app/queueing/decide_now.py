"""Deciding about feeds now, within what is left of Codat's quota and of the caps on spending."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from freshness.app.services import Services
from freshness.aws.dynamodb.control import DispatchState
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import in_force
from freshness.domain.feeds.feed import Feed
from freshness.planning.budgets import call_budget, on_demand_call_budget, spend_left
from freshness.planning.decision import Decision
from freshness.planning.planner import decide


def decide_now(
    services: Services,
    feeds: Iterable[Feed],
    companies: Mapping[str, Company],
    account: DispatchState,
    now: datetime,
) -> list[Decision]:
    """Return the decision about each feed, under the present pause, quota and caps on spending."""
    policy = services.policy
    return decide(
        feeds,
        companies,
        policy,
        now,
        paused=in_force(account.pause, now) is not None,
        call_budget=call_budget(policy.budget, account.limits, now),
        on_demand_call_budget=on_demand_call_budget(policy.budget, account.limits, now),
        spend_left=spend_left_now(services, now),
    )


def spend_left_now(services: Services, now: datetime) -> dict[str, float]:
    """Return how many refreshes the caps on spending allow now, by platform; empty without caps."""
    if not services.policy.budget.spending:
        return {}
    return spend_left(services.policy, services.tables.spending.refreshes(now), now)
