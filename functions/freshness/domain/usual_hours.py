"""The hours in which a customer's own machine is usually online, as its syncs show.

QuickBooks Desktop and Sage 50 are read only while the machine that they run on is online: a dataset waits until then.
Since January 2026, Codat by default syncs newly connected companies of QuickBooks Desktop from 19:00 to 07:00 on
weekdays, and at weekends, by the customer's own time; customers can choose other hours. Nights and days of other time
zones belong to two days in UTC, so only Tuesdays to Thursdays are learned together.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby

from freshness.domain.value import value

RECENT = timedelta(days=8)
"""How long before the last sync others still count: customers change their hours, and clocks change twice a year."""
MIN_SYNCS = 6
"""Syncs on a kind of day from which on its hours are known."""
MIN_DAYS = 3
"""Days with syncs from which on anything is known: when first linked, a machine may be online at an unusual hour."""
LARGEST_GAP = 2
"""Hours without a sync between two hours with one that count as hours with one."""
_HOUR = timedelta(hours=1)
_KINDS = ("Mon", "Tue to Thu", "Fri", "Sat", "Sun")
_KIND_OF_WEEKDAY = (0, 1, 1, 1, 2, 3, 4)


@value(kw_only=False)
class UsualHours:
    """The hours of the day in UTC, from 0 to 23, on each kind of day of which enough is known."""

    by_kind: Mapping[str, frozenset[int]]

    @property
    def is_known(self) -> bool:
        """Return whether anything is known."""
        return bool(self.by_kind)

    def includes(self, at: datetime) -> bool:
        """Return whether the machine is usually online at a time; it is not where that is unknown."""
        return at.astimezone(UTC).hour in self.by_kind.get(_kind(at), ())

    def time_online(self, start: datetime, end: datetime) -> timedelta:
        """Return how long the machine is usually online between two times."""
        total, at = timedelta(0), start.astimezone(UTC)
        while at < end:
            until = min(end, at.replace(minute=0, second=0, microsecond=0) + _HOUR)
            total += (until - at) if self.includes(at) else timedelta(0)
            at = until
        return total

    def __str__(self) -> str:
        known = [kind for kind in _KINDS if kind in self.by_kind]
        same = groupby(known, lambda kind: self.by_kind[kind])
        return "; ".join(f"{', '.join(kinds)} {_text(hours)}" for hours, kinds in same)


def learn(ended_at: Iterable[datetime]) -> UsualHours:
    """Return the hours that the ends of a connection's syncs show."""
    ends = [at.astimezone(UTC) for at in ended_at]
    since = max(ends, default=datetime.max.replace(tzinfo=UTC)) - RECENT
    recent = [at for at in ends if at > since]
    if len({at.date() for at in recent}) < MIN_DAYS:
        return UsualHours({})
    seen: dict[str, list[int]] = defaultdict(list)
    for at in recent:
        seen[_kind(at)].append(at.hour)
    return UsualHours({kind: _hours(hours) for kind, hours in seen.items() if len(hours) >= MIN_SYNCS})


def _kind(at: datetime) -> str:
    return _KINDS[_KIND_OF_WEEKDAY[at.astimezone(UTC).weekday()]]


def _hours(seen: list[int]) -> frozenset[int]:
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
