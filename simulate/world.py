"""A fleet whose data changes and is refreshed, without Codat, AWS, or waiting.

What is refreshed when is decided by `freshness.planner`, and what is learned by `freshness.row` and
`freshness.learning`: the code that runs in Lambda. Only what surrounds it is made up here: changes come as a Poisson
process, and every sync succeeds after its usual time.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from freshness.company import Company, Connection
from freshness.dataset import AskedBy, DatasetState
from freshness.learning import TELLING
from freshness.planner import Action, Decision, Reason, decide, needs_all_rows
from freshness.policy import Policy, Promise
from freshness.row import DAY, End, Request, Row


@dataclass(slots=True)
class Measured:
    """What became of one row while it was measured, from `since` on."""

    since: datetime
    current_days: float = 0.0
    """Days in which the copy was expected to be as at the source."""
    days: float = 0.0
    refreshes: int = 0
    found_nothing: int = 0
    broken: int = 0
    """How often it grew older than promised."""


@dataclass(slots=True, kw_only=True)
class Feed:
    """One row with what only this world knows: how often it really changes, and how long a sync takes."""

    row: Row
    company: Company
    connection: Connection
    changes_per_day: float
    sync_time: timedelta
    measured: Measured


Allowance = Callable[[datetime], float]


@dataclass(kw_only=True)
class World:
    """A fleet that is ticked. `knows_rates` tells the planner the true rates in place of those it learns."""

    feeds: list[Feed]
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
        self.companies = {feed.company.company_id: feed.company for feed in self.feeds}
        for number, feed in enumerate(self.feeds):
            self._numbers[_name(feed.row)] = number
            self._by_company[feed.company.company_id].append(number)
            self._plan(number, feed.row)

    def promise(self, feed: Feed) -> Promise:
        """What is promised of a row."""
        return self.policy.promise(feed.row.data_type, feed.company, feed.connection)

    def next_event(self) -> datetime | None:
        """When a tick has something to look at next; one that left a row waiting has so at once."""
        if self._in_sight:
            return None
        return min((heap[0][0] for heap in (self._ends, self._dues) if heap), default=None)

    def tick(self, now: datetime, allowance: float) -> int:
        """Let happen what did since the last tick, and queue what is due; how many refreshes that were."""
        while self._ends and self._ends[0][0] <= now:
            self._end(*heapq.heappop(self._ends))
        while self._dues and self._dues[0][0] <= now:
            due_at, number = heapq.heappop(self._dues)
            if self.feeds[number].row.due_at == due_at:
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
        for feed in self.feeds:
            feed.measured = Measured(since=now)

    def measure_until(self, now: datetime) -> None:
        """Take into account what is under way."""
        for feed in self.feeds:
            self._measure(feed, now)

    def _looked_at(self) -> Iterable[Row]:
        numbers = set(self._in_sight)
        for number in self._in_sight:
            feed = self.feeds[number]
            if needs_all_rows(feed.row, feed.company, self.policy):
                numbers.update(self._by_company[feed.company.company_id])
        return (self.feeds[number].row for number in sorted(numbers))

    def _act(self, decision: Decision, now: datetime) -> None:
        self.reasons[decision.reason] += 1
        number = self._numbers[_name(decision.row)]
        feed = self.feeds[number]
        if decision.action is Action.PLAN_ANEW:
            self._plan(number, replace(feed.row, due_at=decision.until))
        elif decision.action is Action.QUEUE:
            self._in_sight.discard(number)
            feed.row = feed.row.requested(Request(at=now, asked_by=AskedBy.PROMISE, dataset_id=f"{number} {now}"))
            heapq.heappush(self._ends, (now + feed.sync_time, number))

    def _end(self, at: datetime, number: int) -> None:
        feed = self.feeds[number]
        age = feed.row.age(at)
        modified = age is None or self.random.random() < -math.expm1(-feed.changes_per_day * (age / DAY))
        self._measure(feed, at)
        feed.measured.refreshes += 1
        feed.measured.found_nothing += not modified
        dataset_id = feed.row.request.dataset_id if feed.row.request else ""
        row = feed.row.ended(End(at=at, state=DatasetState.COMPLETE, dataset_id=dataset_id), modified)
        self._plan(number, self._planned(feed, row))

    def _planned(self, feed: Feed, row: Row) -> Row:
        promise = self.promise(feed)
        row = row.planned(promise, feed.connection)
        if self.knows_rates:
            row = replace(row, changes_per_day=feed.changes_per_day)
            row = replace(row, due_at=row.due(promise, feed.connection))
        return row

    def _plan(self, number: int, row: Row) -> None:
        feed = self.feeds[number]
        feed.row = row if row.due_at else self._planned(feed, row)
        self._in_sight.discard(number)
        if feed.row.due_at:
            heapq.heappush(self._dues, (feed.row.due_at, number))

    def _learn(self, queued: list[Decision]) -> None:
        heard = [
            (decision.company.connections[row.connection_id].platform, row.data_type, row.changes_per_day)
            for decision in queued
            if (row := decision.row).changes_per_day and len(row.syncs) >= TELLING
        ]
        if heard and self.policy.learns and not self.knows_rates:
            self.policy = self.policy.knowing(self.policy.fleet_rates.with_rows(heard))

    def _measure(self, feed: Feed, until: datetime) -> None:
        """Add the time since the last sync, or since it is measured: with the age, the copy is less likely current."""
        measured, synced_at = feed.measured, feed.row.succeeded_at
        since = max(measured.since, synced_at or measured.since)
        measured.days += (until - since) / DAY
        if synced_at:
            rate = feed.changes_per_day
            current = (math.exp(-rate * ((at - synced_at) / DAY)) for at in (since, until))
            measured.current_days += (next(current) - next(current)) / rate
        if synced_at is None or until - synced_at > self.promise(feed).fresh_within:
            measured.broken += 1


def _name(row: Row) -> tuple[str, str, str]:
    return row.company_id, row.data_type, row.connection_id
