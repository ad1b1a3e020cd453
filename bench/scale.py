"""A day of a large fleet at the planner's level: a million feeds, in four shards, each with a tick of its own.

What decides is the code that runs in Lambda; the index is a heap for each shard, a tick's calls are those that
`calls_per_minute` leaves it, and every sync succeeds after its usual time.
"""

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bench import fleet
from bench.figures import Figure, show
from bench.fleet import NOW, SYNC_TIME
from freshness.app.queue_refreshes import MOST_FEEDS
from freshness.aws.store import SHARDS, shard
from freshness.domain.company import Company
from freshness.domain.dataset import DatasetState, Trigger
from freshness.domain.feed import End, Feed, Request
from freshness.planning.planner import Action, decide
from freshness.policy.policy import Policy

COMPANIES = 100_000
POLICY = Policy.model_validate({"default": {"fresh_within": "2 days"}})
"""Half a million refreshes a day: somewhat more than half of what 600 calls a minute can do."""
MINUTE = timedelta(minutes=1)
TICKS = 24 * 60
A_TICK = POLICY.budget.calls_per_minute // len(SHARDS)
"""The calls of one shard's tick: all share one pace."""

Key = tuple[str, str]


@dataclass(slots=True)
class Shard:
    """One shard of the index, and what its ticks did."""

    companies: dict[str, Company] = field(default_factory=dict)
    feeds: dict[Key, Feed] = field(default_factory=dict)
    index: list[tuple[datetime, Key]] = field(default_factory=list)
    looked_at: int = 0
    queued: int = 0
    broken: int = 0

    def put(self, feed: Feed) -> None:
        """Write a feed that is not in flight."""
        key = feed.company_id, feed.data_type
        self.feeds[key] = feed
        if feed.due_at:
            heapq.heappush(self.index, (feed.due_at, key))

    def tick(self, now: datetime) -> None:
        """Look at what is due, and queue as much as the calls suffice for."""
        due = list(self._due(now))
        decisions = decide((self.feeds[key] for key in due), self.companies, POLICY, now, allowance=A_TICK)
        self.looked_at += len(due)
        for decision in decisions:
            feed = decision.feed
            if decision.action is Action.QUEUE:
                self._refresh(feed, decision.company, now)
            else:
                self.put(feed)

    def _due(self, now: datetime) -> Iterator[Key]:
        for _ in range(MOST_FEEDS):
            if not self.index or self.index[0][0] > now:
                return
            yield heapq.heappop(self.index)[1]

    def _refresh(self, feed: Feed, company: Company, now: datetime) -> None:
        connection = company.connections[feed.connection_id]
        promise = POLICY.promise(feed.data_type, company, connection)
        ended_at = now + SYNC_TIME
        self.queued += 1
        self.broken += feed.succeeded_at is not None and ended_at - feed.succeeded_at > promise.fresh_within
        feed = feed.requested(Request(at=now, trigger=Trigger.PROMISE, dataset_id=f"{now.timestamp()}"))
        feed = feed.ended(End(at=ended_at, state=DatasetState.COMPLETE, dataset_id=f"{now.timestamp()}"))
        self.put(feed.planned(promise, connection))


def measure() -> list[Figure]:
    """A day, minute by minute."""
    shards = _shards()
    most = 0
    started = time.process_time()
    for minute in range(TICKS):
        before = sum(shard.queued for shard in shards)
        for part in shards:
            part.tick(NOW + minute * MINUTE)
        most = max(most, sum(shard.queued for shard in shards) - before)
    seconds = time.process_time() - started
    looked_at, queued, broken = (
        sum(values) for values in zip(*((s.looked_at, s.queued, s.broken) for s in shards), strict=True)
    )
    feeds = f"{COMPANIES * len(fleet.DATA_TYPES):,} feeds, {len(SHARDS)} ticks a minute"
    return [
        Figure(what=f"refreshes in a day of {feeds}", value=queued, unit="refreshes"),
        Figure(what="promises broken among them", value=broken, unit="refreshes", at_most=0),
        Figure(
            what="refreshes in the busiest minute",
            value=most,
            unit="refreshes",
            against="budget.calls_per_minute",
            floor=POLICY.budget.calls_per_minute,
            at_most=1.0,
        ),
        Figure(
            what="feeds looked at, in all ticks",
            value=looked_at,
            unit="feeds",
            against="those queued",
            floor=queued,
            at_most=1.05,
        ),
        Figure(what="the planner's time for a feed that is due", value=seconds / looked_at * 1e6, unit="us"),
    ]


def _shards() -> list[Shard]:
    """The fleet, whose last syncs are spread over the time that is promised."""
    shards = {name: Shard() for name in SHARDS}
    within = POLICY.default.fresh_within or timedelta(0)
    count = 0
    for number in range(COMPANIES):
        company = fleet.company(number)
        [connection] = company.connections.values()
        part = shards[shard(company.company_id)]
        part.companies[company.company_id] = company
        for data_type in fleet.DATA_TYPES:
            # Steps of the golden ratio: evenly spread, and in no order.
            succeeded_at = NOW - within * (count * 0.6180339887 % 1) * 0.99
            feed = Feed(
                company_id=company.company_id,
                data_type=data_type,
                connection_id=connection.connection_id,
                succeeded_at=succeeded_at,
                end=End(at=succeeded_at, state=DatasetState.COMPLETE),
                platform_sync_time=SYNC_TIME,
            )
            part.put(feed.planned(POLICY.promise(data_type, company, connection), connection))
            count += 1
    return list(shards.values())


if __name__ == "__main__":
    show("Scale", measure())
