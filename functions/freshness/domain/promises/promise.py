"""What the policy promises for one feed, at any time of day.

A promise gives every moment a greatest age: that of the hours around the moment, or else its own. A deadline bounds the
age at one moment alone. A copy breaks its promise at the first moment when it is too old. A refresh as late as possible
needs the fewest refreshes, since a later copy is never too old before an earlier one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from freshness.domain.promises.hours import DAY
from freshness.domain.promises.terms import TERMS, Deadline, Moment, TimedTerms
from freshness.domain.promises.windows import Window

AT_MOST_EVERY = timedelta(hours=1)
"""How often `confidence` may cause a refresh by default: Codat recommends hourly refreshes for few data types only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttainmentKey:
    """The names that attainment is broken down by, besides the data type."""

    rule: str = ""
    """The table of the policy that sets `fresh_within` or `off`, such as `rule "free plan"`."""
    platform: str = ""
    tags: tuple[str, ...] = ()
    """The tags of the company that the policy selects by, each as `name=value`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The greatest age of one data type of a company, read from one connection."""

    fresh_within: timedelta
    """The bound on its age, which holds whatever the other fields say."""
    warn_after: timedelta | None = None
    """The age at which an alarm warns, if any. If it is below `fresh_within`, refreshes aim at it."""
    confidence: float | None = None
    """The required probability, from 0 to 1, that nothing changed since the last sync; `None` for the bound alone."""
    at_most_every: timedelta = AT_MOST_EVERY
    """How soon after a sync `confidence` may cause the next; never above `fresh_within`."""
    weight: float = 1.0
    """How much the feed counts relative to others if the budget is too small for all."""
    quiet_after: timedelta | None = None
    """After how long without a change the source counts as quiet; never if `None`."""
    off: bool = False
    """Whether nothing is promised: the feed is never refreshed."""
    windows: tuple[Window, ...] = ()
    """When the feed may, or may not, be refreshed."""
    fleet_changes_per_day: float | None = None
    """How often other feeds of its platform and data type change at the source, if that was learned."""
    source: str = ""
    """The table of the policy that sets `fresh_within` or `off`, with its file and line."""
    group: AttainmentKey = AttainmentKey()
    """What the feed's attainment is measured by."""
    time_of_day: "TimeOfDayTerms | None" = None
    """The terms and deadlines by time of day, if any. The other fields then hold outside all hours."""

    @property
    def aim(self) -> timedelta:
        """Return the age that refreshes are to prevent: `fresh_within`, or `warn_after` if that is less."""
        return min(self.fresh_within, self.warn_after) if self.warn_after else self.fresh_within

    def at(self, now: datetime) -> "Promise":
        return self.time_of_day.in_force(now) if self.time_of_day else self

    def breaks_at(self, succeeded_at: datetime) -> datetime:
        """Return when a copy made at `succeeded_at` first becomes older than promised."""
        if self.time_of_day is None:
            return succeeded_at + self.fresh_within
        too_old_at, _ = self.time_of_day.first_reached(succeeded_at, attrgetter("fresh_within"))
        missed = self.time_of_day.first_missed(succeeded_at, too_old_at)
        return missed.at if missed else too_old_at

    def is_kept(self, succeeded_at: datetime, now: datetime) -> bool:
        """Return whether a copy made at `succeeded_at` was never older than promised, until now.

        A promise that broke in stricter hours stays broken after them, until the next copy.
        """
        return now <= self.breaks_at(succeeded_at)

    @property
    def expected_changes_per_day(self) -> float:
        """Return how many changes a day to assume while nothing was learned of the feed itself.

        If nothing was learned of similar feeds either, that is one change within `fresh_within`.
        """
        return self.fleet_changes_per_day or DAY / self.fresh_within


class Stretch(NamedTuple):
    """A time during which the same promise is in force."""

    start: datetime
    end: datetime
    promise: Promise


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeOfDayTerms:
    """The terms and deadlines that depend on the time of day.

    They are compared by identity: the policy makes one object for all feeds with the same promise.
    """

    base: Promise
    """What is promised outside all hours."""
    terms: tuple[TimedTerms, ...] = ()
    """In order of precedence: where hours overlap, each term is that of the first that sets it."""
    deadlines: tuple[Deadline, ...] = ()

    def in_force(self, now: datetime) -> Promise:
        if not self.terms:
            return self.base
        return next(promise for _, end, promise in _stretches(self, now.date()) if now < end)

    def first_reached(self, since: datetime, limit: Callable[[Promise], timedelta]) -> tuple[datetime, Promise]:
        """Return when the time since `since` first reaches the limit of the promise then in force, and that promise.

        With `fresh_within` as `limit`, that is when a copy of `since` becomes too old. A limit is at most 366 days.
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
        """Return the first deadline that a copy made at `succeeded_at` misses before a time; `None` if it misses none.

        Deadlines before `since` are left out.
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
        """The shortest `fresh_within` of the deadlines: no copy misses a deadline before that age."""
        return min(deadline.fresh_within for deadline in self.deadlines)

    def moments_between(self, since: datetime, until: datetime) -> Iterator[Moment]:
        """Yield the moments of the deadlines after `since`, up to and including `until`."""
        for number in range((until.date() - since.date()).days + 1):
            yield from (each for each in moments(self, since.date() + number * DAY) if since < each.at <= until)

    def stretches_between(self, since: datetime, until: datetime) -> Iterator[Stretch]:
        for number in range((until.date() - since.date()).days + 1):
            for start, end, promise in _stretches(self, since.date() + number * DAY):
                if max(start, since) < min(end, until):
                    yield Stretch(max(start, since), min(end, until), promise)

    def next_moment(self, deadline: Deadline, now: datetime) -> datetime | None:
        """Return when a deadline comes next; `None` if it does not within a year."""
        coming = self.moments_between(now, now + 366 * DAY)
        return next((each.at for each in coming if each.deadline is deadline), None)


@lru_cache(maxsize=4096)
def moments(timed: TimeOfDayTerms, day: date) -> tuple[Moment, ...]:
    """Return the moments of the deadlines on a day in UTC, in order. At the same time, the tightest comes first."""
    found = [
        Moment(at, deadline)
        for deadline in timed.deadlines
        for local in (day - DAY, day, day + DAY)
        if deadline.include(local) and (at := deadline.moment(local, deadline.by)).date() == day
    ]
    return tuple(sorted(found, key=lambda moment: (moment.at, moment.deadline.fresh_within, moment.deadline.name)))


@lru_cache(maxsize=4096)
def _stretches(timed: TimeOfDayTerms, day: date) -> tuple[Stretch, ...]:
    """Return the stretches of a day in UTC, in order."""
    start, end = datetime.combine(day, time(), UTC), datetime.combine(day + DAY, time(), UTC)
    intervals = [
        (interval, number)
        for number, terms in enumerate(timed.terms)
        for local in (day - 2 * DAY, day - DAY, day, day + DAY)
        if (interval := terms.hours.interval(local)) is not None
    ]
    cuts = sorted({start, end} | {cut for interval, _ in intervals for cut in interval if start < cut < end})
    return tuple(
        Stretch(cut, until, _in_force(timed, tuple(sorted({n for (a, b), n in intervals if a <= cut < b}))))
        for cut, until in pairwise(cuts)
    )


@lru_cache(maxsize=4096)
def _in_force(timed: TimeOfDayTerms, numbers: tuple[int, ...]) -> Promise:
    """Return the promise while the terms with these numbers are in force. The first number takes precedence."""
    promise = timed.base
    for terms in (timed.terms[number] for number in reversed(numbers)):
        changes = {key: value for key in TERMS if (value := getattr(terms, key)) is not None}
        if terms.fresh_within and promise.warn_after:
            changes = {"warn_after": max(promise.warn_after, terms.fresh_within)} | changes
        promise = replace(promise, **changes, source=terms.source if terms.fresh_within else promise.source)
    return replace(promise, at_most_every=min(promise.at_most_every, promise.fresh_within))
