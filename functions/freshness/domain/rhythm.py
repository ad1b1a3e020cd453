"""In which hours of the week data changes, learned from the syncs of all feeds of a kind.

A feed changes as a Poisson process whose rate at a time is its own rate multiplied by a factor of the hour of the week,
whose mean over the week is 1. Everything that holds for a constant rate then holds with *rhythm days* in place of the
days between two times: the integral of the factor. An hour in which twice as much changes as on average counts twice.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import accumulate, pairwise
from operator import add
from typing import NamedTuple

from freshness.domain.value import value

HOURS = 168
"""Hours of a week, from Monday 00:00."""
WEEK = 7.0
"""Days in it."""
LONGEST_LEARNED = 36.0
"""Hours: the longest interval between two syncs that is learned from. Longer ones say little about the hour."""
MOST_CHANGES = 3.0
"""Expected changes in an interval above which it is not learned from: that it changed was to be expected anyway."""
PRIOR = 8.0
"""How many expected changes a factor of 1 counts as in each hour, to smooth what few syncs show."""
MOST_KEPT = 400.0
"""Expected changes an hour, on average, beyond which earlier ones lose weight."""
LEAST = 0.02
"""The lowest factor of an hour: no hour is known to be without changes."""
_WORKING_DAYS = 5
_SIMILAR = tuple(
    slice(first, last, 24)
    for start, last in ((0, _WORKING_DAYS * 24), (_WORKING_DAYS * 24, HOURS))
    for first in range(start, start + 24)
)
"""Hours of the week that are similar: the same hour of all working days, or of Saturday and Sunday."""
_HOUR = timedelta(hours=1)
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
_LONG = timedelta(weeks=520)
"""Beyond this, the hour of the week makes no difference, and days are rhythm days."""


@value(kw_only=False)
class Rhythm:
    """How much more often than on average data changes in each hour of the week, in the local time of `zone`.

    Without `by_hour`, it changes as often in every hour.
    """

    by_hour: tuple[float, ...] = ()
    """A factor for each of the `HOURS`, positive, and 1 on average."""
    zone: tzinfo = UTC
    _until: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """Rhythm days from Monday 00:00 until the start of each hour, and of the next week."""
    _is_utc: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Integrate the factors."""
        object.__setattr__(self, "_is_utc", str(self.zone) == "UTC")
        object.__setattr__(self, "_until", tuple(accumulate([each / 24 for each in self.by_hour], initial=0.0)))

    def days_between(self, start: datetime, end: datetime) -> float:
        """Return the rhythm days between two times; 0 if the end is earlier."""
        if not self.by_hour:
            return max((end - start) / (24 * _HOUR), 0.0)
        return max(self._days_until(end) - self._days_until(start), 0.0)

    def time_until(self, start: datetime, days: float) -> timedelta:
        """Return how long after `start` so many rhythm days have passed."""
        if not self.by_hour or days >= _LONG / timedelta(days=1):
            return timedelta(days=days)
        weeks, rest = divmod(self._days_until(start) + days, WEEK)
        hour = min(bisect_right(self._until, rest) - 1, HOURS - 1)
        reached = weeks * HOURS + hour + (rest - self._until[hour]) / (self.by_hour[hour] / 24)
        return max((reached - self._position(start)) * _HOUR, timedelta(0))

    def parts(self, start: datetime, end: datetime) -> Iterator[tuple[int, float]]:
        """Yield the hours of the week that an interval touches, each with the part of the hour that is within it."""
        first, last = self._position(start), self._position(end)
        edges = [first, *range(math.floor(first) + 1, math.ceil(last)), last]
        for before, after in pairwise(edges):
            yield math.floor(before) % HOURS, after - before

    def _days_until(self, at: datetime) -> float:
        weeks, hours = divmod(self._position(at), HOURS)
        hour = int(hours)
        return weeks * WEEK + self._until[hour] + (hours - hour) * self.by_hour[hour] / 24

    def _position(self, at: datetime) -> float:
        """Return the hours from a Monday 00:00 until a time, by the clock of the zone."""
        position = (at - _MONDAY) / _HOUR
        if self._is_utc:
            return position
        offset = at.astimezone(self.zone).utcoffset()
        return position + offset / _HOUR if offset else position


STEADY = Rhythm()


def hour_of_week(at: datetime, zone: tzinfo) -> int:
    """Return the hour of the week that a time is in, from 0 on Monday at 00:00, by the clock of a zone."""
    local = at.astimezone(zone)
    return local.weekday() * 24 + local.hour


class SyncInterval(NamedTuple):
    """The time between two syncs of a feed, and whether the second found that anything had changed in it."""

    start: datetime
    end: datetime
    changed: bool


@value(kw_only=False)
class HourCounts:
    """Changes of the feeds of a kind in each hour of the week: what a rhythm is estimated from.

    `changes` are those that probably happened, and `expected` those that a constant rate would have made. Counts of
    different syncs are added.
    """

    changes: tuple[float, ...] = (0.0,) * HOURS
    expected: tuple[float, ...] = (0.0,) * HOURS

    def rhythm(self, zone: tzinfo = UTC) -> Rhythm:
        """Return the rhythm that the counts show.

        Each hour is shrunk towards the same hour of all working days, or of both other days, and that towards 1; and
        averaged with its neighbours.
        """
        level = (sum(self.changes) + PRIOR) / (sum(self.expected) + PRIOR)
        shrunk = [1.0] * HOURS
        for similar in _SIMILAR:
            changes, expected = self.changes[similar], self.expected[similar]
            towards = _shrunk(sum(changes), sum(expected), level, 1.0)
            shrunk[similar] = [_shrunk(*counts, level, towards) for counts in zip(changes, expected, strict=True)]
        # Without it, expectation maximisation makes hours that no sync tells apart differ by chance.
        neighbours = zip([shrunk[-1], *shrunk], shrunk, [*shrunk[1:], shrunk[0]], strict=False)
        bounded = [max((before + 2 * hour + after) / 4, LEAST) for before, hour, after in neighbours]
        mean = sum(bounded) / HOURS
        return Rhythm(tuple(each / mean for each in bounded), zone)

    @classmethod
    def of(cls, numbers: Mapping[int, float]) -> "HourCounts":
        """Return the counts of what happened in hours of the week, of which each was watched for as long."""
        changes = tuple(float(numbers.get(hour, 0)) for hour in range(HOURS))
        return cls(changes, (sum(changes) / HOURS,) * HOURS)

    @property
    def weight(self) -> float:
        """Return how many changes were expected in all."""
        return sum(self.expected)

    def merged(self, other: "HourCounts") -> "HourCounts":
        """Return the sum of two counts; if it is large, both lose weight."""
        changes, expected = (
            tuple(map(add, *both)) for both in ((self.changes, other.changes), (self.expected, other.expected))
        )
        scale = MOST_KEPT * HOURS / max(sum(expected), MOST_KEPT * HOURS)
        if scale == 1:
            return HourCounts(changes, expected)
        return HourCounts(tuple([scale * each for each in changes]), tuple([scale * each for each in expected]))


def _shrunk(changes: float, expected: float, level: float, towards: float) -> float:
    return (changes / level + PRIOR * towards) / (expected + PRIOR)


NO_COUNTS = HourCounts()


def counted(intervals: Iterable[tuple[SyncInterval, float]], rhythm: Rhythm) -> HourCounts:
    """Return the counts of intervals, each of a feed with a rate in changes a day, given the rhythm known so far.

    This is the step of expectation maximisation: an interval of x expected changes that saw at least one holds
    x / (1 - exp(-x)) on average, spread over its hours in proportion to the rhythm.
    """
    changes, expected = [0.0] * HOURS, [0.0] * HOURS
    factors = rhythm.by_hour or (1.0,) * HOURS
    for (start, end, changed), rate in _learned_from(intervals):
        parts = [(hour, rate * part / 24) for hour, part in rhythm.parts(start, end)]
        x = sum(steady * factors[hour] for hour, steady in parts)
        if not 0 < x <= MOST_CHANGES:
            continue
        share = 1 / -math.expm1(-x) if changed else 0.0
        for hour, steady in parts:
            changes[hour] += share * steady * factors[hour]
            expected[hour] += steady
    return HourCounts(tuple(changes), tuple(expected))


def evidence(intervals: Iterable[tuple[SyncInterval, float]], rhythm: Rhythm) -> float:
    """Return the logarithm of how much more probable a rhythm makes what intervals showed than a constant rate does.

    The rhythm must not have been learned from these intervals. Each is of a feed with a rate in changes a day.
    """
    total = 0.0
    for (start, end, changed), rate in _learned_from(intervals):
        x, steady = rate * rhythm.days_between(start, end), rate * STEADY.days_between(start, end)
        if not 0 < x <= MOST_CHANGES:
            continue
        total += math.log(math.expm1(-x) / math.expm1(-steady)) if changed else steady - x
    return total


def _learned_from(intervals: Iterable[tuple[SyncInterval, float]]) -> Iterator[tuple[SyncInterval, float]]:
    for interval, rate in intervals:
        if timedelta(0) < interval.end - interval.start <= LONGEST_LEARNED * _HOUR:
            yield interval, rate
