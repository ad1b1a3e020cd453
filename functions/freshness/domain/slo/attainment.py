"""Attainment: the share of promised time in which copies were as fresh as promised.

It is good feed-time divided by promised feed-time. Time in which a feed was older than promised while the customer had
to act first counts as neither. Promised time follows from the number of feeds, late time from the times of breach
(`freshness.domain.slo.breach`). Both are kept by hour for two days, and by day after that, in UTC.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from freshness.domain.promises.promise import AttainmentKey
from freshness.domain.slo.breach import BreachTime
from freshness.domain.times import midnight

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOURS_KEPT = 2 * DAY
"""Attainment is kept by hour for this long before the current day."""
DAYS_KEPT = 400 * DAY
"""How long attainment is kept by day: a year, and the month to compare it with."""


class Breakdown(StrEnum):
    """The kinds of parts that attainment is broken down by."""

    RULE = "rule"
    """The table of the policy that sets `fresh_within`: each feed is in one, so that they add up to the whole."""
    DATA_TYPE = "data_type"
    PLATFORM = "platform"
    TAG = "tag"
    """A tag by which the policy selects companies, as `name=value`."""


Cell = tuple[Breakdown, str]
"""A part of the fleet for which attainment is measured, such as one rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attained:
    """The feed-time of a part of the fleet. `late` and `waiting` are parts of `promised` when feeds were too old."""

    promised: timedelta = timedelta(0)
    late: timedelta = timedelta(0)
    """The time in which feeds were older than promised, and no customer had to act."""
    waiting: timedelta = timedelta(0)
    """The time in which feeds were older than promised, and a customer had to act first."""

    def __add__(self, other: "Attained") -> "Attained":
        return Attained(
            promised=self.promised + other.promised,
            late=self.late + other.late,
            waiting=self.waiting + other.waiting,
        )

    @property
    def counted(self) -> timedelta:
        """Return the promised time without that spent waiting for a customer."""
        return self.promised - self.waiting

    @property
    def share(self) -> float | None:
        """Return the attainment, from 0 to 1; `None` where nothing was promised."""
        return max(0.0, 1 - self.late / self.counted) if self.counted > timedelta(0) else None

    def budget_left(self, objective: float) -> float | None:
        """Return the part of the error budget that is left: 1 if nothing was late, below 0 if it was exceeded.

        The error budget is the time that may be late by the objective: `1 - objective` of the promised time. Return
        `None` if no time may be late.
        """
        allowed = (1 - objective) * self.counted
        return 1 - self.late / allowed if allowed > timedelta(0) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """An hour or a day, in UTC."""

    start: datetime
    length: timedelta

    @property
    def end(self) -> datetime:
        return self.start + self.length

    @property
    def name(self) -> str:
        """Return the period's name, such as `2026-11-23T09` or `2026-11-23`."""
        return self.start.isoformat(timespec="hours")[:13] if self.length == HOUR else self.start.date().isoformat()

    def overlap(self, start: datetime, end: datetime) -> timedelta:
        """Return how long the time from `start` to `end` overlaps the period."""
        return max(timedelta(0), min(end, self.end) - max(start, self.start))


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodRecord:
    """The record of a period.

    Of a day, everything is in `times`. Of an hour, `times` has only breaches that have ended: the promised time follows
    from `feeds`, the number of feeds with a promise. `feeds` is empty if they were not counted in that hour.
    """

    period: Period
    times: Mapping[Cell, Attained] = field(default_factory=dict)
    feeds: Mapping[Cell, int] = field(default_factory=dict)


def cells(data_type: str, group: AttainmentKey) -> Iterator[Cell]:
    """Yield the parts of the fleet that a feed belongs to."""
    yield Breakdown.RULE, group.rule
    yield Breakdown.DATA_TYPE, data_type
    yield Breakdown.PLATFORM, group.platform
    for tag in group.tags:
        yield Breakdown.TAG, tag


def hour_of(at: datetime) -> Period:
    return Period(start=at.astimezone(UTC).replace(minute=0, second=0, microsecond=0), length=HOUR)


def day_of(at: datetime) -> Period:
    return Period(start=midnight(at), length=DAY)


def by_hour_since(now: datetime) -> datetime:
    """Return the time since which attainment is kept by hour, and not by day."""
    return day_of(now).start - HOURS_KEPT


def periods(start: datetime, end: datetime, now: datetime) -> Iterator[Period]:
    """Yield the periods from `start` to `end`: days where attainment is kept by day now, then hours."""
    at, hours_since = start, by_hour_since(now)
    while at < end:
        period = day_of(at) if at < hours_since else hour_of(at)
        yield period
        at = period.end


def by_period(breaches: Iterable[BreachTime], now: datetime) -> dict[Period, dict[Cell, Attained]]:
    """Divide times of breach among the periods in which they are recorded."""
    total: defaultdict[Period, dict[Cell, Attained]] = defaultdict(dict)
    for breach in breaches:
        for period in periods(breach.start, breach.end, now):
            _add(total[period], breach, period.overlap(breach.start, breach.end))
    return dict(total)


def attained(
    records: Iterable[PeriodRecord], open_breaches: Iterable[BreachTime], start: datetime, now: datetime
) -> dict[Cell, Attained]:
    """Return what each part of the fleet attained from `start`, the start of a period, until `now`.

    `records` are those of all periods since `start`, and of the hour before. If the feeds of an hour were not counted,
    the numbers of the hour before it count.
    """
    total: dict[Cell, Attained] = {}
    promised: defaultdict[Cell, timedelta] = defaultdict(timedelta)
    feeds: Mapping[Cell, int] = {}
    for record in sorted(records, key=lambda record: record.period.start):
        feeds = record.feeds or feeds
        if record.period.start < start:
            continue
        for cell, times in record.times.items():
            total[cell] = total.get(cell, Attained()) + times
        if record.period.length == HOUR:
            elapsed = record.period.overlap(start, now)
            for cell, number in feeds.items():
                promised[cell] += number * elapsed
    for cell, time in promised.items():
        total[cell] = total.get(cell, Attained()) + Attained(promised=time)
    whole = Period(start=start, length=now - start)
    for breach in open_breaches:
        _add(total, breach, whole.overlap(breach.start, breach.end))
    return total


def of_fleet(parts: Mapping[Cell, Attained]) -> Attained:
    """Return what the whole fleet attained: the sum over rules, since each feed is in one rule."""
    return sum((times for (kind, _), times in parts.items() if kind is Breakdown.RULE), Attained())


def _add(total: dict[Cell, Attained], breach: BreachTime, time: timedelta) -> None:
    if time:
        added = Attained(waiting=time) if breach.waiting else Attained(late=time)
        for cell in cells(breach.data_type, breach.group):
            total[cell] = total.get(cell, Attained()) + added
