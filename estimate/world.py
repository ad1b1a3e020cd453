"""Simulation of a fleet whose data changes and is refreshed, without Codat or AWS, in simulated time.

The code that runs in Lambda decides what is refreshed when (`freshness.planning.planner`), and computes what follows
from the end of each refresh, such as the change rate of the feed (`freshness.domain.transitions.transition`). The rest
is simulated: changes are a Poisson process, and every sync succeeds, after a duration that is fixed for its feed.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from freshness.domain.companies.company import Company, Connection
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.feeds.facts import Deferred, FeedFact, ReadEnded
from freshness.domain.feeds.feed import DAY, Feed, FeedKey
from freshness.domain.feeds.feed_values import Decided, Request
from freshness.domain.feeds.schedule import breaks_at, due_at, reschedule
from freshness.domain.learned.learned_rates import FeedSample, LearnedRates
from freshness.domain.promises.promise import Promise, Stretch
from freshness.domain.slo.attainment import Attained
from freshness.domain.times import BEGINNING
from freshness.domain.transitions.transition import transition
from freshness.planning.budgets import AHEAD_OF_MONTH, month_of, spend_left
from freshness.planning.decision import Action, Decision, Reason, samples
from freshness.planning.planner import decide, needs_all_feeds
from freshness.policy.policy import Policy

HOUR = timedelta(hours=1)
HINDRANCES = (
    Reason.OUTSIDE_WINDOW,
    Reason.OVER_BUDGET,
    Reason.OVER_QUOTA,
    Reason.OVER_SPENDING,
    Reason.WAITING_FOR_SET,
)
"""Reasons for which a refresh that is due is not queued."""


@dataclass(slots=True)
class RuleReport:
    """The results of feeds while one table of the policy sets their freshness."""

    feeds: int = 0
    """Feeds whose freshness the table sets at any time."""
    refreshes: int = 0
    found_nothing: int = 0
    """The number of refreshes that found no change."""
    attained: Attained = field(default_factory=Attained)
    """The time promised, and the part of it in which feeds were older than promised, as `./freshness report` has it."""
    current_days: float = 0.0
    """The expected number of days in which the copies were the same as the source, summed over the feeds."""
    days: float = 0.0
    """The days measured, summed over the feeds."""
    cost: float = 0.0
    """What the platforms charge for the refreshes, in the currency of the policy's prices."""
    cost_of_nothing: float = 0.0
    """The part of `cost` for refreshes that found no change."""

    def add(self, other: "RuleReport") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def sum_of(reports: Iterable[RuleReport]) -> RuleReport:
    total = RuleReport()
    for report in reports:
        total.add(report)
    return total


@dataclass(slots=True)
class Measured:
    """The measurements of one feed from `since` on."""

    since: datetime
    rules: dict[str, RuleReport] = field(default_factory=lambda: defaultdict(RuleReport))
    """The results by the table of the policy that set the freshness at the time."""
    broken: int = 0
    """The number of times that the feed became older than promised."""
    deadlines_met: Counter[str] = field(default_factory=Counter)
    """The deadlines that were met, by where the policy sets them."""
    deadlines_missed: Counter[str] = field(default_factory=Counter)
    held_back: Reason | None = None
    """Why a refresh that was due was last not queued."""

    @property
    def total(self) -> RuleReport:
        return sum_of(self.rules.values())


@dataclass(slots=True, kw_only=True)
class SimulatedFeed:
    """A feed, with what only the simulation knows: its true change rate, and how long its syncs take."""

    feed: Feed
    company: Company
    connection: Connection
    changes_per_day: float
    sync_time: timedelta
    measured: Measured


@dataclass(kw_only=True)
class World:
    """A simulated fleet. With `knows_rates`, the planner uses the true change rates, not those that it learns."""

    simulated_feeds: list[SimulatedFeed]
    policy: Policy
    random: Random
    knows_rates: bool = False
    queued: Counter[datetime] = field(default_factory=Counter)
    """The number of refreshes queued, by tick."""
    _samples: list[FeedSample] = field(default_factory=list)
    """The samples that were not learned from yet."""
    _learned_at: datetime = BEGINNING
    _refreshes_by_platform: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """The number of refreshes queued, by month and then by platform."""
    _sync_ends: list[tuple[datetime, int]] = field(default_factory=list)
    """A heap of the times at which syncs end, each with the index of its feed."""
    _due_times: list[tuple[datetime, int]] = field(default_factory=list)
    """A heap of the times at which feeds are due, each with the index of its feed."""
    _waiting: set[int] = field(default_factory=set)
    """The indexes of the feeds that are due and not yet queued."""
    _indexes: dict[FeedKey, int] = field(default_factory=dict)
    _indexes_by_company: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.companies = {simulated.company.company_id: simulated.company for simulated in self.simulated_feeds}
        for index, simulated in enumerate(self.simulated_feeds):
            self._indexes[simulated.feed.key] = index
            self._indexes_by_company[simulated.company.company_id].append(index)
            feed = reschedule(simulated.feed, self.promise(simulated), simulated.connection)
            self._put(index, self._with_true_rate(simulated, feed))

    def promise(self, simulated: SimulatedFeed) -> Promise:
        return self.policy.promise(simulated.feed.data_type, simulated.company, simulated.connection)

    def next_event(self) -> datetime | None:
        """Return the time of the next event, or `None` if feeds are waiting now or if there is none."""
        if self._waiting:
            return None
        return min((heap[0][0] for heap in (self._sync_ends, self._due_times) if heap), default=None)

    def tick(self, now: datetime, call_budget: float) -> int:
        """Finish the syncs that ended since the last tick, queue what is due, and return how many were queued."""
        while self._sync_ends and self._sync_ends[0][0] <= now:
            self._finish_sync(*heapq.heappop(self._sync_ends))
        while self._due_times and self._due_times[0][0] <= now:
            due_at, index = heapq.heappop(self._due_times)
            if self.simulated_feeds[index].feed.due_at == due_at:
                self._waiting.add(index)
        month = self._refreshes_by_platform[month_of(now)]
        if not self.queued and month_of(now - AHEAD_OF_MONTH) == month_of(now):
            # Assume that this much was spent before the simulation begins.
            month.update(
                {platform: int(n) for platform, n in spend_left(self.policy, {}, now - AHEAD_OF_MONTH).items()}
            )
        decisions = decide(
            self._feeds_to_decide(),
            self.companies,
            self.policy,
            now,
            call_budget=call_budget,
            spend_left=spend_left(self.policy, month, now),
        )
        queued = [decision for decision in decisions if decision.action is Action.QUEUE]
        for decision in decisions:
            self._act(decision, now)
        self._learn(queued, now)
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
        index = self._indexes[decision.feed.key]
        simulated = self.simulated_feeds[index]
        if decision.reason in HINDRANCES:
            simulated.measured.held_back = decision.reason
        if decision.action is Action.RESCHEDULE:
            decided = Decided(at=now, reason=decision.reason)
            self._apply(index, Deferred(until=decision.until, decided=decided, version=simulated.feed.version), now)
        elif decision.action is Action.QUEUE:
            # When a feed in flight is late does not matter here, so its due time is not computed.
            self._refreshes_by_platform[month_of(now)][self.policy.capped_as(simulated.connection) or ""] += 1
            request = Request(at=now, trigger=Trigger.PROMISE, dataset_id=f"{index} {now}")
            self._put(index, simulated.feed.requested(request))
            heapq.heappush(self._sync_ends, (now + simulated.sync_time, index))

    def _finish_sync(self, at: datetime, index: int) -> None:
        """Record the end of a sync. Whether it found a change is random, by the feed's true rate."""
        simulated = self.simulated_feeds[index]
        age = simulated.feed.age(at)
        modified = age is None or self.random.random() < 1 - _unchanged(simulated, at - age, at)
        self._measure(simulated, at)
        rule = simulated.measured.rules[self.promise(simulated).at(at).source]
        rule.refreshes += 1
        rule.found_nothing += not modified
        fact = ReadEnded(
            company_id=simulated.feed.company_id,
            connection_id=simulated.feed.connection_id,
            data_type=simulated.feed.data_type,
            at=at,
            state=DatasetState.COMPLETE,
            records_modified=modified,
            is_first=age is None,
        )
        self._apply(index, fact, at)

    def _apply(self, index: int, fact: FeedFact, now: datetime) -> None:
        """Compute what follows from a fact about a feed."""
        simulated = self.simulated_feeds[index]
        feed = transition(simulated.feed, fact, self.promise(simulated), simulated.connection, now).feed
        self._put(index, feed if isinstance(fact, Deferred) else self._with_true_rate(simulated, feed))

    def _put(self, index: int, feed: Feed) -> None:
        """Replace a feed. A feed in flight is not due again before its sync ends."""
        self.simulated_feeds[index].feed = feed
        self._waiting.discard(index)
        if feed.due_at and not feed.in_flight:
            heapq.heappush(self._due_times, (feed.due_at, index))

    def _with_true_rate(self, simulated: SimulatedFeed, feed: Feed) -> Feed:
        """Return a feed with its true change rate and the due time that follows, if the planner is to know the rate."""
        if not self.knows_rates:
            return feed
        feed = replace(feed, changes_per_day=simulated.changes_per_day)
        return replace(feed, due_at=due_at(feed, self.promise(simulated), simulated.connection))

    def _learn(self, queued: list[Decision], now: datetime) -> None:
        """Collect samples from the feeds queued, as `queue_refreshes` does. Learn from them once an hour."""
        if self.knows_rates:
            return
        self._samples += samples(queued)
        if self._samples and now >= self._learned_at + HOUR:
            fleet = self.policy.fleet
            self.policy = self.policy.with_learned(fleet.merged(LearnedRates.learned(self._samples)))
            self._samples.clear()
            self._learned_at = now

    def _measure(self, simulated: SimulatedFeed, until: datetime) -> None:
        """Measure the time since the last sync, or since the measurements began, during which the copy aged."""
        measured, synced_at = simulated.measured, simulated.feed.succeeded_at
        since = max(measured.since, synced_at or measured.since)
        promise = self.promise(simulated)
        measured.broken += synced_at is None or promise.breaks_at(synced_at) < until
        late_since = max(since, breaks_at(simulated.feed, promise, simulated.connection) or until)
        whole = [Stretch(since, until, promise)]
        for part in promise.time_of_day.stretches_between(since, until) if promise.time_of_day else whole:
            rule, days = measured.rules[part.promise.source], (part.end - part.start) / DAY
            rule.days += days
            if synced_at and days:
                changes = simulated.changes_per_day * days
                mean = -math.expm1(-changes) / changes if changes else 1.0
                rule.current_days += days * _unchanged(simulated, synced_at, part.start) * mean
            late = max(timedelta(), part.end - max(part.start, late_since))
            rule.attained += Attained(promised=part.end - part.start, late=late)
        for at, deadline in promise.time_of_day.moments_between(since, until) if promise.time_of_day else ():
            is_met = synced_at is not None and at - synced_at <= deadline.fresh_within
            (measured.deadlines_met if is_met else measured.deadlines_missed)[deadline.source] += 1


def _unchanged(simulated: SimulatedFeed, start: datetime, end: datetime) -> float:
    """Return the true probability that a feed's data does not change between two times."""
    return math.exp(-simulated.changes_per_day * ((end - start) / DAY))
