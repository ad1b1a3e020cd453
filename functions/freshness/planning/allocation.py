"""Chooses which candidates to queue: sets together, within quotas, caps on spending and the call budget."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from operator import attrgetter

from freshness.domain.feeds.feed import Feed
from freshness.planning.budgets import renewed_at
from freshness.planning.decision import Action, Candidate, Decision, Reason
from freshness.policy.policy import Policy


def units_of(
    candidates: list[Candidate], policy: Policy, now: datetime
) -> tuple[list[list[Candidate]], list[Candidate]]:
    """Return the groups that are queued together or not at all, the most urgent first, and the other candidates.

    A set is as urgent as the most urgent of its feeds that are due; if none is due, the set is not queued. Feeds of the
    set that were synced recently enough to agree with the others are not refreshed again.
    """
    units: list[list[Candidate]] = []
    others: list[Candidate] = []
    sets: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    due: set[tuple[str, str]] = set()
    for candidate in sorted(candidates, key=attrgetter("rank")):
        together = policy.set_of(candidate.feed.data_type, candidate.company)
        if together is None:
            units.append([candidate])
            continue
        key = candidate.feed.company_id, together.name
        age = candidate.feed.age(now)
        if candidate.is_due and key not in due:
            due.add(key)
            units.append(sets[key])
        if candidate.is_due or age is None or age > together.within:
            sets[key].append(candidate)
        else:
            others.append(candidate)
    return units, others + [candidate for key, members in sets.items() if key not in due for candidate in members]


SPENDING_RENEWED = timedelta(hours=1)
"""How long a feed waits if a cap on spending holds it back: what may be spent grows all month."""


class ConnectionQuotas:
    """The refreshes that the policy still allows, of each connection today and of each platform with a cap.

    `spend_left` has how many refreshes of such a platform may be queued now.
    """

    def __init__(self, policy: Policy, feeds: list[Feed], spend_left: Mapping[str, float], now: datetime) -> None:
        self._policy = policy
        self._spend_left = dict(spend_left)
        self._now = now
        self._queued: Counter[tuple[str, str]] = Counter()
        self._renewed_at = renewed_at(now)
        if policy.budget.refreshes_per_connection:
            for feed in feeds:
                self._queued[feed.company_id, feed.connection_id] += feed.requests_on(now.date())

    def take(self, candidate: Candidate) -> Decision:
        """Take a refresh for a candidate: return the decision to queue it, or to reschedule it if none is left."""
        quota = self._policy.refreshes_a_day(candidate.connection)
        key = candidate.feed.company_id, candidate.feed.connection_id
        capped = self._policy.capped_as(candidate.connection)
        if quota is not None and self._queued[key] >= quota:
            return candidate.rescheduled(Reason.OVER_QUOTA, self._renewed_at)
        if self._spend_left.get(capped or "", math.inf) < 1:
            return candidate.rescheduled(Reason.OVER_SPENDING, self._now + SPENDING_RENEWED)
        if quota is not None:
            self._queued[key] += 1
        if capped in self._spend_left:
            self._spend_left[capped] -= 1
        return candidate.queued


def allocated(
    units: list[list[Candidate]], quotas: ConnectionQuotas, call_budget: float, on_demand_call_budget: float
) -> tuple[list[Decision], list[Decision]]:
    """Return the decisions to queue candidates, and those to leave them.

    Once a group does not fit in the rest of `call_budget`, no later group is queued from it: less urgent groups must
    not spend what this one waits for. A feed whose connection has no quota left does not hold back the rest of its set.
    What callers wait for is queued from `on_demand_call_budget`, and from `call_budget` only if it is due anyway.
    """
    queued: list[Decision] = []
    left: list[Decision] = []
    on_demand = 0
    for unit in units:
        if unit[0].feed.wanted and len(unit) <= on_demand_call_budget:
            before = len(queued)
            _queue(unit, quotas, queued, left)
            on_demand_call_budget -= len(queued) - before
            on_demand += len(queued) - before
            continue
        if not any(candidate.is_promised for candidate in unit):
            left += (candidate.waits(Reason.OVER_BUDGET) for candidate in unit)
            continue
        remaining = call_budget - (len(queued) - on_demand)
        if len(unit) > remaining:
            reason = Reason.WAITING_FOR_SET if remaining >= 1 and len(unit) > 1 else Reason.OVER_BUDGET
            left += (candidate.waits(reason) for candidate in unit)
            call_budget = 0
            continue
        _queue(unit, quotas, queued, left)
    return queued, left


def _queue(unit: list[Candidate], quotas: ConnectionQuotas, queued: list[Decision], left: list[Decision]) -> None:
    for candidate in unit:
        decision = quotas.take(candidate)
        (queued if decision.action is Action.QUEUE else left).append(decision)
