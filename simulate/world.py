"""Simulation of a fleet whose data changes and is refreshed, without Codat or AWS, in simulated time.

The code that runs in Lambda decides what is refreshed when (`freshness.planning.planner`) and learns how often feeds
change (`freshness.domain.feed`, `freshness.domain.change_rate`). The rest is simulated: changes are a Poisson process,
and every sync succeeds, after a duration that is fixed for its feed.
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
    """The measurements of one feed from `since` on."""

    since: datetime
    current_days: float = 0.0
    """The expected number of days in which the copy was the same as the source."""
    days: float = 0.0
    """The days measured."""
    refreshes: int = 0
    found_nothing: int = 0
    """Refreshes that found no change."""
    broken: int = 0
    """The number of times that the feed became older than promised."""


@dataclass(slots=True, kw_only=True)
class SimulatedFeed:
    """A feed, with what only the simulation knows: its true change rate, and how long its syncs take."""

    feed: Feed
    company: Company
    connection: Connection
    changes_per_day: float
    sync_time: timedelta
    measured: Measured


Allowance = Callable[[datetime], float]


@dataclass(kw_only=True)
class World:
    """A simulated fleet. With `knows_rates`, the planner uses the true change rates, not those that it learns."""

    simulated_feeds: list[SimulatedFeed]
    policy: Policy
    random: Random
    knows_rates: bool = False
    queued: Counter[datetime] = field(default_factory=Counter)
    """The number of refreshes queued, by tick."""
    reasons: Counter[Reason] = field(default_factory=Counter)
    """The number of decisions, by reason."""
    _sync_ends: list[tuple[datetime, int]] = field(default_factory=list)
    """A heap of the times at which syncs end, each with the index of its feed."""
    _due_times: list[tuple[datetime, int]] = field(default_factory=list)
    """A heap of the times at which feeds are due, each with the index of its feed."""
    _waiting: set[int] = field(default_factory=set)
    """The indexes of the feeds that are due and not yet queued."""
    _indexes: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _indexes_by_company: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.companies = {simulated.company.company_id: simulated.company for simulated in self.simulated_feeds}
        for index, simulated in enumerate(self.simulated_feeds):
            self._indexes[_key(simulated.feed)] = index
            self._indexes_by_company[simulated.company.company_id].append(index)
            self._schedule(index, simulated.feed)

    def promise(self, simulated: SimulatedFeed) -> Promise:
        """Return the promise for a feed."""
        return self.policy.promise(simulated.feed.data_type, simulated.company, simulated.connection)

    def next_event(self) -> datetime | None:
        """Return the time of the next event, or `None` if feeds are waiting now or if there is none."""
        if self._waiting:
            return None
        return min((heap[0][0] for heap in (self._sync_ends, self._due_times) if heap), default=None)

    def tick(self, now: datetime, allowance: float) -> int:
        """Finish the syncs that ended since the last tick, queue what is due, and return how many were queued."""
        while self._sync_ends and self._sync_ends[0][0] <= now:
            self._finish_sync(*heapq.heappop(self._sync_ends))
        while self._due_times and self._due_times[0][0] <= now:
            due_at, index = heapq.heappop(self._due_times)
            if self.simulated_feeds[index].feed.due_at == due_at:
                self._waiting.add(index)
        decisions = decide(self._feeds_to_decide(), self.companies, self.policy, now, allowance=allowance)
        queued = [decision for decision in decisions if decision.action is Action.QUEUE]
        for decision in decisions:
            self._act(decision, now)
        self._learn_rates(queued)
        self.queued[now] += len(queued)
        return len(queued)

    def measure_from(self, now: datetime) -> None:
        """Discard the measurements so far, and start new ones."""
        for simulated in self.simulated_feeds:
            simulated.measured = Measured(since=now)

    def measure_until(self, now: datetime) -> None:
        """Add the time since each feed's last sync to the measurements."""
        for simulated in self.simulated_feeds:
            self._measure(simulated, now)

    def _feeds_to_decide(self) -> Iterable[Feed]:
        """Return the feeds that are waiting, and those of the same companies that the planner needs with them."""
        indexes = set(self._waiting)
        for index in self._waiting:
            simulated = self.simulated_feeds[index]
            if needs_all_feeds(simulated.feed, simulated.company, self.policy):
                indexes.update(self._indexes_by_company[simulated.company.company_id])
        return (self.simulated_feeds[index].feed for index in sorted(indexes))

    def _act(self, decision: Decision, now: datetime) -> None:
        """Carry out a decision of the planner."""
        self.reasons[decision.reason] += 1
        index = self._indexes[_key(decision.feed)]
        simulated = self.simulated_feeds[index]
        if decision.action is Action.RESCHEDULE:
            self._schedule(index, replace(simulated.feed, due_at=decision.until))
        elif decision.action is Action.QUEUE:
            self._waiting.discard(index)
            simulated.feed = simulated.feed.requested(
                Request(at=now, trigger=Trigger.PROMISE, dataset_id=f"{index} {now}")
            )
            heapq.heappush(self._sync_ends, (now + simulated.sync_time, index))

    def _finish_sync(self, at: datetime, index: int) -> None:
        """Record the end of a sync, which found a change with the probability that follows from the feed's rate."""
        simulated = self.simulated_feeds[index]
        age = simulated.feed.age(at)
        modified = age is None or self.random.random() < -math.expm1(-simulated.changes_per_day * (age / DAY))
        self._measure(simulated, at)
        simulated.measured.refreshes += 1
        simulated.measured.found_nothing += not modified
        dataset_id = simulated.feed.request.dataset_id if simulated.feed.request else ""
        feed = simulated.feed.ended(End(at=at, state=DatasetState.COMPLETE, dataset_id=dataset_id), modified)
        self._schedule(index, self._with_due_time(simulated, feed))

    def _with_due_time(self, simulated: SimulatedFeed, feed: Feed) -> Feed:
        """Return a feed with its next due time set."""
        promise = self.promise(simulated)
        feed = feed.planned(promise, simulated.connection)
        if self.knows_rates:
            feed = replace(feed, changes_per_day=simulated.changes_per_day)
            feed = replace(feed, due_at=feed.due(promise, simulated.connection))
        return feed

    def _schedule(self, index: int, feed: Feed) -> None:
        simulated = self.simulated_feeds[index]
        simulated.feed = feed if feed.due_at else self._with_due_time(simulated, feed)
        self._waiting.discard(index)
        if simulated.feed.due_at:
            heapq.heappush(self._due_times, (simulated.feed.due_at, index))

    def _learn_rates(self, queued: list[Decision]) -> None:
        """Update the fleet's rates from the feeds queued, as `queue_refreshes` does."""
        learned = [
            (decision.company.connections[feed.connection_id].platform, feed.data_type, feed.changes_per_day)
            for decision in queued
            if (feed := decision.feed).changes_per_day and len(feed.syncs) >= TELLING
        ]
        if learned and self.policy.learns and not self.knows_rates:
            self.policy = self.policy.knowing(self.policy.fleet_rates.with_feeds(learned))

    def _measure(self, simulated: SimulatedFeed, until: datetime) -> None:
        """Add the time since the last sync, or since the start of the measurement, during which the copy ages."""
        measured, synced_at = simulated.measured, simulated.feed.succeeded_at
        since = max(measured.since, synced_at or measured.since)
        measured.days += (until - since) / DAY
        if synced_at:
            rate = simulated.changes_per_day
            current = (math.exp(-rate * ((at - synced_at) / DAY)) for at in (since, until))
            measured.current_days += (next(current) - next(current)) / rate
        if synced_at is None or until - synced_at > self.promise(simulated).fresh_within:
            measured.broken += 1


def _key(feed: Feed) -> tuple[str, str, str]:
    return feed.company_id, feed.data_type, feed.connection_id
