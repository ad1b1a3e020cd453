"""Promises that depend on the time of day, and deadlines.

A promise gives every moment a greatest age: that of the hours that the moment is in, or else its own. A deadline bounds
the age at one moment alone. A copy breaks its promise at the first moment at which it is too old. To refresh as late as
that allows needs the fewest refreshes, since a later copy is never too old before an earlier one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

from freshness.domain.hours import DAY, Days, Hours, days_text
from freshness.domain.promise import Promise

TERMS = ("fresh_within", "warn_after", "confidence", "at_most_every", "weight")
"""The terms that may depend on the time of day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTerms:
    """Terms that replace those of a promise during some hours. A term that is `None` is not replaced."""

    hours: Hours
    place: str
    """The rule that sets them, with its file and line."""
    fresh_within: timedelta | None = None
    warn_after: timedelta | None = None
    confidence: float | None = None
    at_most_every: timedelta | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline(Days):
    """A time of day at which a copy may be no older than `fresh_within`."""

    name: str
    by: time
    fresh_within: timedelta
    place: str
    """Where the policy sets it, by file and line."""

    def __str__(self) -> str:
        return f"by {self.by:%H:%M} {days_text(self)}"


class Moment(NamedTuple):
    """One occurrence of a deadline."""

    at: datetime
    deadline: Deadline


class Stretch(NamedTuple):
    """A time in which the same promise is in force."""

    start: datetime
    end: datetime
    promise: Promise


@dataclass(frozen=True, kw_only=True, eq=False)
class Clock:
    """What depends on the time of day. It is compared by identity: the policy makes one for all feeds alike."""

    base: Promise
    """What is promised outside all hours."""
    terms: tuple[TimedTerms, ...] = ()
    """In order of precedence, where their hours overlap: each term is taken from the first that has it."""
    deadlines: tuple[Deadline, ...] = ()

    def in_force(self, now: datetime) -> Promise:
        """Return the promise in force at a time."""
        if not self.terms:
            return self.base
        return next(promise for _, end, promise in _stretches(self, now.date()) if now < end)

    def first_reached(self, since: datetime, limit: Callable[[Promise], timedelta]) -> tuple[datetime, Promise]:
        """Return when it is first as long `since` a time as the promise then in force allows, and that promise.

        `limit` is what a promise allows: at most 366 days.
        """
        if not self.terms:
            return since + limit(self.base), self.base
        day = since.date()
        while True:
            for start, end, promise in _stretches(self, day):
                at = since + limit(promise)
                if at < end:
                    return max(start, at), promise
            day += DAY

    def first_missed(self, succeeded_at: datetime, before: datetime, since: datetime | None = None) -> Moment | None:
        """Return the first moment before a time at which a copy made at `succeeded_at` is too old for a deadline.

        Moments before `since` are left out.
        """
        if not self.deadlines:
            return None
        first = succeeded_at + self._shortest
        first = max(first, since) if since else first
        day, last = first.date(), before.date()
        while day <= last:
            for moment in moments(self, day):
                if first <= moment.at < before and moment.at - succeeded_at > moment.deadline.fresh_within:
                    return moment
            day += DAY
        return None

    @cached_property
    def has_confidence(self) -> bool:
        """Whether the promise sets `confidence` at any time."""
        return bool(self.base.confidence) or any(terms.confidence for terms in self.terms)

    @cached_property
    def _shortest(self) -> timedelta:
        """The shortest `fresh_within` of the deadlines: none can be missed before."""
        return min(deadline.fresh_within for deadline in self.deadlines)

    def moments_between(self, since: datetime, until: datetime) -> Iterator[Moment]:
        """Yield the occurrences of the deadlines after a time, up to another."""
        for number in range((until.date() - since.date()).days + 1):
            yield from (each for each in moments(self, since.date() + number * DAY) if since < each.at <= until)

    def next_moment(self, deadline: Deadline, now: datetime) -> datetime | None:
        """Return when a deadline comes next; `None` if it does not within a year."""
        coming = self.moments_between(now, now + 366 * DAY)
        return next((each.at for each in coming if each.deadline is deadline), None)


@lru_cache(maxsize=4096)
def moments(clock: Clock, day: date) -> tuple[Moment, ...]:
    """Return the occurrences of the deadlines on a day in UTC, in order, and of one moment the tightest first."""
    found = [
        Moment(at, deadline)
        for deadline in clock.deadlines
        for local in (day - DAY, day, day + DAY)
        if deadline.include(local) and (at := deadline.moment(local, deadline.by)).date() == day
    ]
    return tuple(sorted(found, key=lambda moment: (moment.at, moment.deadline.fresh_within, moment.deadline.name)))


@lru_cache(maxsize=4096)
def _stretches(clock: Clock, day: date) -> tuple[Stretch, ...]:
    """Return the stretches of a day in UTC, in order."""
    start, end = datetime.combine(day, time(), UTC), datetime.combine(day + DAY, time(), UTC)
    intervals = [
        (interval, number)
        for number, terms in enumerate(clock.terms)
        for local in (day - 2 * DAY, day - DAY, day, day + DAY)
        if (interval := terms.hours.interval(local)) is not None
    ]
    cuts = sorted({start, end} | {cut for interval, _ in intervals for cut in interval if start < cut < end})
    return tuple(
        Stretch(cut, until, _in_force(clock, tuple(sorted({n for (a, b), n in intervals if a <= cut < b}))))
        for cut, until in pairwise(cuts)
    )


@lru_cache(maxsize=4096)
def _in_force(clock: Clock, numbers: tuple[int, ...]) -> Promise:
    """Return the promise with the terms of these numbers in force, the first of them taking precedence."""
    promise = clock.base
    for terms in (clock.terms[number] for number in reversed(numbers)):
        changes = {key: value for key in TERMS if (value := getattr(terms, key)) is not None}
        promise = replace(promise, **changes, place=terms.place if terms.fresh_within else promise.place)
    within = promise.fresh_within
    warn_after = max(promise.warn_after, within) if promise.warn_after else None
    return replace(promise, warn_after=warn_after, at_most_every=min(promise.at_most_every, within))
