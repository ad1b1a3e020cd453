"""The hours in which a customer's own machine is usually online, as its syncs show.

QuickBooks Desktop and Sage 50 are read only while the machine that they run on is online: a dataset waits until then.
Since January 2026, Codat by default syncs newly connected companies of QuickBooks Desktop from 19:00 to 07:00 on
weekdays, and at weekends, by the customer's own time; customers can choose other hours. Weekdays and weekends are
therefore learned apart.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from freshness.domain.value import value

MIN_SYNCS = 6
"""Syncs on weekdays, or at weekends, from which on their hours are known."""
LARGEST_GAP = 2
"""Hours without a sync between two hours with one that count as hours with one."""
_HOUR = timedelta(hours=1)
_SATURDAY = 5


@value(kw_only=False)
class UsualHours:
    """The hours of the day in UTC, from 0 to 23, on weekdays and at weekends; `None` where too little is known."""

    weekdays: frozenset[int] | None
    weekends: frozenset[int] | None

    @property
    def is_known(self) -> bool:
        """Return whether anything is known."""
        return self.weekdays is not None or self.weekends is not None

    def includes(self, at: datetime) -> bool:
        """Return whether the machine is usually online at a time; it is not where that is unknown."""
        hours = self.weekends if at.astimezone(UTC).weekday() >= _SATURDAY else self.weekdays
        return hours is not None and at.astimezone(UTC).hour in hours

    def time_online(self, start: datetime, end: datetime) -> timedelta:
        """Return how long the machine is usually online between two times."""
        total, at = timedelta(0), start
        while at < end:
            until = min(end, at.replace(minute=0, second=0, microsecond=0) + _HOUR)
            total += (until - at) if self.includes(at) else timedelta(0)
            at = until
        return total

    def __str__(self) -> str:
        kinds = (("weekdays", self.weekdays), ("weekends", self.weekends))
        return "; ".join(f"{kind} {_text(hours)}" for kind, hours in kinds if hours is not None)


def learn(ended_at: Iterable[datetime]) -> UsualHours:
    """Return the hours that the ends of a connection's syncs show."""
    weekdays: list[int] = []
    weekends: list[int] = []
    for at in ended_at:
        utc = at.astimezone(UTC)
        (weekends if utc.weekday() >= _SATURDAY else weekdays).append(utc.hour)
    return UsualHours(_hours(weekdays), _hours(weekends))


def _hours(seen: list[int]) -> frozenset[int] | None:
    if len(seen) < MIN_SYNCS:
        return None
    hours = set(seen)
    for hour in seen:
        gap = next(distance for distance in range(1, 25) if (hour + distance) % 24 in hours)
        if gap <= LARGEST_GAP + 1:
            hours.update((hour + distance) % 24 for distance in range(1, gap))
    return frozenset(hours)


def _text(hours: frozenset[int]) -> str:
    """Return hours as ranges in UTC, such as `19:00 to 07:00`."""
    if len(hours) == 24:
        return "at any time"
    starts = sorted(hour for hour in hours if (hour - 1) % 24 not in hours)
    ends = [next(h % 24 for h in range(start + 1, start + 25) if h % 24 not in hours) for start in starts]
    return ", ".join(f"{start:02}:00 to {end:02}:00 UTC" for start, end in zip(starts, ends, strict=True))
