"""A fleet whose data changes and is refreshed, without Codat, AWS, or waiting.

What is refreshed when is decided by `freshness.planning.planner`, and what is learned by `freshness.domain.feed` and
`freshness.domain.change_rate`: the code that runs in Lambda. Only the rest is simulated: changes come as a Poisson
process, and every sync succeeds after its usual time.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from freshness.domain.change_rate import TELLING
from freshness.domain.company import Company, Connection
from freshness.domain.dataset import DatasetState, Trigger
from freshness.domain.feed import DAY, End, Feed, Request
from freshness.domain.promise import Promise
from freshness.planning.planner import Action, Decision, Reason, decide, needs_all_feeds
from freshness.policy.policy import Policy


@dataclass(slots=True)
class Measured:
    """What became of one feed while it was measured, from `since` on."""

    since: datetime
    current_days: float = 0.0
    """Days in which the copy was expected to be as at the source."""
    days: float = 0.0
    refreshes: int = 0
    found_nothing: int = 0
    broken: int = 0
    """How often it grew older than promised."""


@dataclass(slots=True, kw_only=True)
class SimulatedFeed:
    """One feed with what only this world knows: how often it really changes, and how long a sync takes."""

    feed: Feed
    company: Company
    connection: Connection
    changes_per_day: float
    sync_time: timedelta
    measured: Measured


Allowance = Callable[[datetime], float]


@dataclass(kw_only=True)
class World:
    """A fleet that is ticked. `knows_rates` tells the planner the true rates in place of those it learns."""

    simulated_feeds: list[SimulatedFeed]
    policy: Policy
    random: Random
    knows_rates: bool = False
    queued: Counter[datetime] = field(default_factory=Counter)
    """Refreshes queued, by tick."""
    reasons: Counter[Reason] = field(default_factory=Counter)
    _ends: list[tuple[datetime, int]] = field(default_factory=list)
    _dues: list[tuple[datetime, int]] = field(default_factory=list)
    _in_sight: set[int] = field(default_factory=set)
    _numbers: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _by_company: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.companies = {simulated.company.company_id: simulated.company for simulated in self.simulated_feeds}
        for number, simulated in enumerate(self.simulated_feeds):
            self._numbers[_name(simulated.feed)] = number
            self._by_company[simulated.company.company_id].append(number)
            self._plan(number, simulated.feed)

    def promise(self, simulated: SimulatedFeed) -> Promise:
        """What is promised of a feed."""
        return self.policy.promise(simulated.feed.data_type, simulated.company, simulated.connection)

    def next_event(self) -> datetime | None:
        """When a tick has something to look at next; one that left a feed waiting has so at once."""
        if self._in_sight:
            return None
        return min((heap[0][0] for heap in (self._ends, self._dues) if heap), default=None)

    def tick(self, now: datetime, allowance: float) -> int:
        """Let happen what did since the last tick, and queue what is due; how many refreshes that were."""
        while self._ends and self._ends[0][0] <= now:
            self._end(*heapq.heappop(self._ends))
        while self._dues and self._dues[0][0] <= now:
            due_at, number = heapq.heappop(self._dues)
            if self.simulated_feeds[number].feed.due_at == due_at:
                self._in_sight.add(number)
        decisions = decide(self._looked_at(), self.companies, self.policy, now, allowance=allowance)
        queued = [decision for decision in decisions if decision.action is Action.QUEUE]
        for decision in decisions:
            self._act(decision, now)
        self._learn(queued)
        self.queued[now] += len(queued)
        return len(queued)

    def measure_from(self, now: datetime) -> None:
        """Forget what was measured before."""
        for simulated in self.simulated_feeds:
            simulated.measured = Measured(since=now)

    def measure_until(self, now: datetime) -> None:
        """Take into account what is under way."""
        for simulated in self.simulated_feeds:
            self._measure(simulated, now)

    def _looked_at(self) -> Iterable[Feed]:
        numbers = set(self._in_sight)
        for number in self._in_sight:
            simulated = self.simulated_feeds[number]
            if needs_all_feeds(simulated.feed, simulated.company, self.policy):
                numbers.update(self._by_company[simulated.company.company_id])
        return (self.simulated_feeds[number].feed for number in sorted(numbers))

    def _act(self, decision: Decision, now: datetime) -> None:
        self.reasons[decision.reason] += 1
        number = self._numbers[_name(decision.feed)]
        simulated = self.simulated_feeds[number]
        if decision.action is Action.RESCHEDULE:
            self._plan(number, replace(simulated.feed, due_at=decision.until))
        elif decision.action is Action.QUEUE:
            self._in_sight.discard(number)
            simulated.feed = simulated.feed.requested(
                Request(at=now, trigger=Trigger.PROMISE, dataset_id=f"{number} {now}")
            )
            heapq.heappush(self._ends, (now + simulated.sync_time, number))

    def _end(self, at: datetime, number: int) -> None:
        simulated = self.simulated_feeds[number]
        age = simulated.feed.age(at)
        modified = age is None or self.random.random() < -math.expm1(-simulated.changes_per_day * (age / DAY))
        self._measure(simulated, at)
        simulated.measured.refreshes += 1
        simulated.measured.found_nothing += not modified
        dataset_id = simulated.feed.request.dataset_id if simulated.feed.request else ""
        feed = simulated.feed.ended(End(at=at, state=DatasetState.COMPLETE, dataset_id=dataset_id), modified)
        self._plan(number, self._planned(simulated, feed))

    def _planned(self, simulated: SimulatedFeed, feed: Feed) -> Feed:
        promise = self.promise(simulated)
        feed = feed.planned(promise, simulated.connection)
        if self.knows_rates:
            feed = replace(feed, changes_per_day=simulated.changes_per_day)
            feed = replace(feed, due_at=feed.due(promise, simulated.connection))
        return feed

    def _plan(self, number: int, feed: Feed) -> None:
        simulated = self.simulated_feeds[number]
        simulated.feed = feed if feed.due_at else self._planned(simulated, feed)
        self._in_sight.discard(number)
        if simulated.feed.due_at:
            heapq.heappush(self._dues, (simulated.feed.due_at, number))

    def _learn(self, queued: list[Decision]) -> None:
        heard = [
            (decision.company.connections[feed.connection_id].platform, feed.data_type, feed.changes_per_day)
            for decision in queued
            if (feed := decision.feed).changes_per_day and len(feed.syncs) >= TELLING
        ]
        if heard and self.policy.learns and not self.knows_rates:
            self.policy = self.policy.knowing(self.policy.fleet_rates.with_feeds(heard))

    def _measure(self, simulated: SimulatedFeed, until: datetime) -> None:
        """Add the time since the last sync, or since it is measured: with the age, the copy is less likely current."""
        measured, synced_at = simulated.measured, simulated.feed.succeeded_at
        since = max(measured.since, synced_at or measured.since)
        measured.days += (until - since) / DAY
        if synced_at:
            rate = simulated.changes_per_day
            current = (math.exp(-rate * ((at - synced_at) / DAY)) for at in (since, until))
            measured.current_days += (next(current) - next(current)) / rate
        if synced_at is None or until - synced_at > self.promise(simulated).fresh_within:
            measured.broken += 1


def _name(feed: Feed) -> tuple[str, str, str]:
    return feed.company_id, feed.data_type, feed.connection_id
