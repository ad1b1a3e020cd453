"""A day of the planner with a million feeds.

The planner is the code that runs in Lambda. The index is a heap, each tick may queue `calls_per_minute`, and every sync
succeeds after `SYNC_TIME`.
"""

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bench import fleet
from bench.figures import Figure, Topic, show
from bench.fleet import NOW, SYNC_TIME
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.feeds.feed_values import End, Request
from freshness.domain.feeds.schedule import reschedule
from freshness.planning.decision import Action
from freshness.planning.planner import decide
from freshness.policy.policy import Policy

COMPANIES = 100_000
POLICY = Policy.model_validate({"default": {"fresh_within": "2 days"}})
"""Half a million refreshes a day, which is somewhat more than half of 600 calls a minute."""
MINUTE = timedelta(minutes=1)
TICKS = 24 * 60


@dataclass(slots=True)
class Index:
    """The due index, and the totals of the ticks that read it."""

    companies: dict[str, Company] = field(default_factory=dict)
    feeds: dict[FeedKey, Feed] = field(default_factory=dict)
    due: list[tuple[datetime, FeedKey]] = field(default_factory=list)
    read: int = 0
    """Feeds that were read because they were due."""
    queued: int = 0
    broken: int = 0
    """Refreshes that ended only after the promise had broken."""

    def put(self, feed: Feed) -> None:
        """Write a feed that is not in flight."""
        self.feeds[feed.key] = feed
        if feed.due_at:
            heapq.heappush(self.due, (feed.due_at, feed.key))

    def tick(self, now: datetime) -> None:
        """Decide about the feeds that are due, and queue as many as the calls allow."""
        due = list(self._due(now))
        calls = POLICY.budget.calls_per_minute
        decisions = decide((self.feeds[key] for key in due), self.companies, POLICY, now, call_budget=calls)
        self.read += len(due)
        for decision in decisions:
            feed = decision.feed
            if decision.action is Action.QUEUE:
                self._refresh(feed, decision.company, now)
            else:
                self.put(feed)

    def _due(self, now: datetime) -> Iterator[FeedKey]:
        while self.due and self.due[0][0] <= now:
            yield heapq.heappop(self.due)[1]

    def _refresh(self, feed: Feed, company: Company, now: datetime) -> None:
        connection = company.connections[feed.connection_id]
        promise = POLICY.promise(feed.data_type, company, connection)
        ended_at = now + SYNC_TIME
        self.queued += 1
        self.broken += feed.succeeded_at is not None and ended_at - feed.succeeded_at > promise.fresh_within
        feed = feed.requested(Request(at=now, trigger=Trigger.PROMISE, dataset_id=f"{now.timestamp()}"))
        feed = feed.ended(End(at=ended_at, state=DatasetState.COMPLETE, dataset_id=f"{now.timestamp()}"))
        self.put(reschedule(feed, promise, connection))


def measure() -> list[Figure]:
    """Measure a day, minute by minute."""
    index, most = _index(), 0
    started = time.process_time()
    for minute in range(TICKS):
        before = index.queued
        index.tick(NOW + minute * MINUTE)
        most = max(most, index.queued - before)
    seconds = time.process_time() - started
    read, queued, broken = index.read, index.queued, index.broken
    feeds = f"{COMPANIES * len(fleet.DATA_TYPES):,} feeds, a tick a minute"
    return [
        Figure(what=f"refreshes in a day of {feeds}", value=queued, unit="refreshes"),
        Figure(what="promises broken by these refreshes", value=broken, unit="refreshes", at_most=0),
        Figure(
            what="refreshes in the busiest minute",
            topic=Topic.SCALE,
            value=most,
            unit="refreshes",
            against="budget.calls_per_minute",
            floor=POLICY.budget.calls_per_minute,
            at_most=1.0,
        ),
        Figure(
            what="feeds read in all ticks",
            topic=Topic.SCALE,
            value=read,
            unit="feeds",
            against="refreshes queued",
            floor=queued,
            at_most=1.05,
        ),
        Figure(what="time of the planner for each feed read", value=seconds / read * 1e6, unit="us"),
    ]


def _index() -> Index:
    """Return the index of the fleet. Its last syncs are evenly spread over the promised time."""
    index = Index()
    within = POLICY.default.fresh_within or timedelta(0)
    count = 0
    for number in range(COMPANIES):
        company = fleet.company(number)
        [connection] = company.connections.values()
        index.companies[company.company_id] = company
        for data_type in fleet.DATA_TYPES:
            # Multiples of the golden ratio are evenly spread modulo 1, in no order.
            succeeded_at = NOW - within * (count * 0.6180339887 % 1) * 0.99
            feed = Feed(
                company_id=company.company_id,
                data_type=data_type,
                connection_id=connection.connection_id,
                succeeded_at=succeeded_at,
                end=End(at=succeeded_at, state=DatasetState.COMPLETE),
                platform_sync_time=SYNC_TIME,
            )
            index.put(reschedule(feed, POLICY.promise(data_type, company, connection), connection))
            count += 1
    return index


if __name__ == "__main__":
    show("Scale", measure())
