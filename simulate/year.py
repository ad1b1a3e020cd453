"""A fast simulation of deadlines over a year: three time zones with their holidays and daylight saving.

The code that runs in Lambda decides and computes what follows, as in `estimate.world`. Syncs may be slow or fail, and
each company is out of reach now and then. The times of deadlines are computed here a second time, from the calendar.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from freshness.domain.companies.company import Company, Connection, ConnectionStatus
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.feeds.facts import DatasetPolled, ReadEnded
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.feeds.feed_values import Request
from freshness.domain.feeds.schedule import reschedule
from freshness.domain.transitions.transition import transition
from freshness.planning.decision import Action
from freshness.planning.planner import decide
from freshness.policy.file.values import public_holidays
from freshness.policy.policy import Policy

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
ZONES = {"Europe/London": "GB-ENG", "America/New_York": "US-NY", "Australia/Sydney": "AU-NSW"}
"""The time zones of the companies, each with the region whose public holidays apply."""
BY, FRESH_WITHIN = time(8), timedelta(hours=2)
DATA_TYPES = ("invoices", "balanceSheet")
OUTAGES_A_YEAR, OUTAGE_HOURS = 12.0, 3.0
"""How often a company is out of reach, and for how long on average."""
FAILURES = 0.02
"""The share of syncs that fail although their company is in reach."""
SYNC_SECONDS, SLOW_SECONDS, SLOW = 20.0, 300.0, 0.02
"""The average seconds of a usual sync and of a slow one, and the share of slow ones."""


def policy(base: str) -> Policy:
    """Return a policy with the deadline, and `base` as the bound on the age at all other times."""
    calendars = {f"c{number}": {"holidays": code} for number, code in enumerate(ZONES.values())}
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    ready = {"name": "ready", "by": f"{BY:%H:%M}", "days": days, "fresh_within": "2 hours"}
    return Policy.model_validate(
        {
            "default": {"fresh_within": base},
            "deadlines": [ready],
            "calendars": calendars,
            "local_time": {"time_zone_tag": "zone", "calendar_tag": "calendar"},
        },
        context={"year": 2026},
    )


def without_deadlines(fresh_within: str) -> Policy:
    """Return a policy that bounds the age at all times alike."""
    return Policy.model_validate({"default": {"fresh_within": fresh_within}})


@dataclass(slots=True, kw_only=True)
class Year:
    """The fleet over a year under `policy`, or over fewer `days` from `start` on."""

    companies: int
    policy: Policy
    start: datetime
    days: int = 365
    calls: int = 0
    """Refreshes queued."""
    met: int = 0
    """Deadlines that were met, counting each feed."""
    missed: int = 0
    """Deadlines that were missed although a refresh could have succeeded."""
    unreachable: int = 0
    """Deadlines before which the company was out of reach for all of the time allowed."""
    busiest_minute: int = 0
    _random: Random = field(default_factory=lambda: Random(1))
    _companies: dict[str, Company] = field(default_factory=dict)
    _feeds: dict[FeedKey, Feed] = field(default_factory=dict)
    _due: list[tuple[datetime, FeedKey]] = field(default_factory=list)
    _ends: list[tuple[datetime, FeedKey]] = field(default_factory=list)
    _last_ends: dict[FeedKey, ReadEnded] = field(default_factory=dict)
    _outages: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)

    def run(self) -> None:
        """Simulate every minute in which anything happens."""
        self._populate()
        end = self.start + self.days * DAY
        deadlines = sorted(self._deadlines(), reverse=True)
        while (now := min(self._next_tick(), deadlines[-1][0] if deadlines else end)) < end:
            while self._ends and self._ends[0][0] <= now:
                self._finish(*heapq.heappop(self._ends))
            while deadlines and deadlines[-1][0] == now:
                self._count(*deadlines.pop())
            self._tick(now)

    def _populate(self) -> None:
        zones = list(ZONES)
        for number in range(self.companies):
            zone = number % len(zones)
            connection = Connection(
                connection_id=f"connection {number}",
                platform="Xero",
                source_type="Accounting",
                status=ConnectionStatus.LINKED,
                status_at=self.start - DAY,
            )
            company = Company(
                company_id=f"company {number}",
                connections={connection.connection_id: connection},
                tags={"zone": zones[zone], "calendar": f"c{zone}"},
            )
            self._companies[company.company_id] = company
            self._outages[company.company_id] = list(self._random_outages())
            for data_type in DATA_TYPES:
                succeeded_at = self.start - self._random.random() * timedelta(hours=2)
                feed = Feed(
                    company_id=company.company_id,
                    data_type=data_type,
                    connection_id=connection.connection_id,
                    succeeded_at=succeeded_at,
                )
                self._put(reschedule(feed, self.policy.promise(data_type, company, connection), connection))

    def _random_outages(self) -> Iterator[tuple[datetime, datetime]]:
        at = self.start
        while (at := at + self._random.expovariate(OUTAGES_A_YEAR / 365) * DAY) < self.start + self.days * DAY:
            yield at, at + self._random.expovariate(1 / OUTAGE_HOURS) * timedelta(hours=1)

    def _deadlines(self) -> Iterator[tuple[datetime, str]]:
        """Yield the time of each deadline, by the wall clock of its time zone, and the time zone."""
        for zone, code in ZONES.items():
            holidays = set(public_holidays(code, self.start.year))
            for number in range(self.days):
                day = self.start.date() + number * DAY
                if day.weekday() < 5 and day not in holidays:
                    yield datetime.combine(day, BY, ZoneInfo(zone)).astimezone(UTC), zone

    def _next_tick(self) -> datetime:
        """Return the first full minute at or after the next event."""
        at = min(heap[0][0] for heap in (self._due, self._ends) if heap)
        return self.start + -((self.start - at) // MINUTE) * MINUTE

    def _tick(self, now: datetime) -> None:
        due = []
        while self._due and self._due[0][0] <= now:
            at, key = heapq.heappop(self._due)
            if self._feeds[key].due_at == at:
                due.append(self._feeds[key])
        queued = 0
        for decision in decide(due, self._companies, self.policy, now, call_budget=self.policy.budget.calls_per_minute):
            if decision.action is Action.QUEUE:
                queued += 1
                feed = decision.feed.requested(Request(at=now, trigger=Trigger.PROMISE, dataset_id=f"{self.calls}"))
                self._feeds[feed.key] = feed
                is_slow = self._random.random() < SLOW
                took = self._random.expovariate(1 / (SLOW_SECONDS if is_slow else SYNC_SECONDS))
                heapq.heappush(self._ends, (now + timedelta(seconds=5 + took), feed.key))
            elif decision.action is Action.CHECK and (polled := self._polled(decision.feed, now)):
                self._record(decision.feed, polled, now)
            else:
                until = decision.until if decision.action is Action.RESCHEDULE else now + MINUTE
                self._put(replace(decision.feed, due_at=until))
        self.calls += queued
        self.busiest_minute = max(self.busiest_minute, queued)

    def _finish(self, at: datetime, key: FeedKey) -> None:
        feed = self._feeds[key]
        fails = self._is_out(key[0], at) or self._random.random() < FAILURES
        fact = ReadEnded(
            company_id=feed.company_id,
            connection_id=feed.connection_id,
            data_type=feed.data_type,
            at=at,
            state=DatasetState.FETCH_ERROR if fails else DatasetState.COMPLETE,
            records_modified=False,
            is_first=False,
        )
        self._last_ends[key] = fact
        self._record(feed, fact, at)

    def _polled(self, feed: Feed, now: datetime) -> DatasetPolled | None:
        """Return what Codat knows of a late dataset, if it has ended: a webhook may seem to repeat the one before."""
        request, end = feed.last_dataset, self._last_ends.get(feed.key)
        if request is None or end is None or end.at < request.at:
            return None
        return DatasetPolled(
            at=now,
            state=end.state,
            dataset_id=request.dataset_id,
            requested_at=request.at,
            ended_at=end.at,
            succeeded_at=end.at if end.state == DatasetState.COMPLETE else feed.succeeded_at,
        )

    def _record(self, feed: Feed, fact: ReadEnded | DatasetPolled, at: datetime) -> None:
        company = self._companies[feed.company_id]
        connection = company.connections[feed.connection_id]
        promise = self.policy.promise(feed.data_type, company, connection)
        self._put(transition(feed, fact, promise, connection, at).feed)

    def _put(self, feed: Feed) -> None:
        self._feeds[feed.key] = feed
        if feed.due_at:
            heapq.heappush(self._due, (feed.due_at, feed.key))

    def _is_out(self, company_id: str, at: datetime) -> bool:
        return any(start <= at < end for start, end in self._outages[company_id])

    def _count(self, at: datetime, zone: str) -> None:
        """Count which feeds of the companies in a time zone meet their deadline."""
        for (company_id, *_), feed in self._feeds.items():
            if self._companies[company_id].tags["zone"] != zone:
                continue
            if feed.succeeded_at and at - feed.succeeded_at <= FRESH_WITHIN:
                self.met += 1
            elif any(start <= at - FRESH_WITHIN and at <= end for start, end in self._outages[company_id]):
                self.unreachable += 1
            else:
                self.missed += 1
