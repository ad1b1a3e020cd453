"""Times of the week at which refreshes may, or may not, be queued."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
WEEK_AND_A_DAY = 8
"""Windows repeat every week, so that whatever happens happens within these days."""

Stretch = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of some days, as clocks in `zone` show it. It belongs to the day on which it starts.

    One that ends before it starts ends on the next day. Where clocks are put forward or back, it starts and ends
    when they show these times.
    """

    name: str
    allows: bool
    """Whether refreshes are queued only in it, or never in it."""
    start: time
    end: time
    days: frozenset[int]
    """Days of the week, Monday being 0."""
    zone: ZoneInfo

    def stretch(self, day: date) -> Stretch | None:
        """From when until when it lasts if it starts on `day`."""
        if day.weekday() not in self.days:
            return None
        last = day + DAY if self.end <= self.start else day
        start, end = (
            datetime.combine(on, at, self.zone).astimezone(UTC) for on, at in ((day, self.start), (last, self.end))
        )
        return (start, end) if start < end else None


def allowed(windows: tuple[Window, ...], at: datetime) -> bool:
    """Whether a refresh may be queued at a time: in none that forbids it, and in one that allows it if any does."""
    return not windows or not any(start <= at < end for start, end in _closed(windows, at.date()))


def next_allowed(windows: tuple[Window, ...], at: datetime) -> datetime | None:
    """The first time from `at` on at which a refresh may be queued; `None` if there never is one."""
    if not windows:
        return at
    for start, end in _closed(windows, at.date()):
        if start <= at < end:
            at = end
    return at if allowed(windows, at) else None


def planned(windows: tuple[Window, ...], at: datetime, *, after: datetime, room: timedelta) -> datetime | None:
    """When to plan for what should happen at `at`: then if refreshes are allowed, else before they cease to be.

    It is planned so that they are allowed for `room` more. Where that would not be later than `after`, it is the
    next time at which they are allowed. A later `at` never gives an earlier time. `None` if there never is a time.
    """
    if not windows:
        return at
    moved = _merged((start - room, end) for start, end in _closed(windows, at.date()))
    for start, end in moved:
        if start < at < end:
            latest = start if start > after else end
            return latest if allowed(windows, latest) else None
    return at


@lru_cache(maxsize=1024)
def _closed(windows: tuple[Window, ...], day: date) -> list[Stretch]:
    """The stretches of time in the weeks around a day in which no refresh may be queued, in their order."""
    days = [day + n * DAY for n in range(-WEEK_AND_A_DAY, WEEK_AND_A_DAY + 1)]
    stretches = [
        (window.allows, stretch) for window in windows for day in days if (stretch := window.stretch(day)) is not None
    ]
    closed = [stretch for allows, stretch in stretches if not allows]
    if any(window.allows for window in windows):
        opened = _merged(stretch for allows, stretch in stretches if allows)
        first, last = (datetime.combine(day, time(), UTC) for day in (days[0], days[-1]))
        ends = [first, *(end for _, end in opened)]
        starts = [*(start for start, _ in opened), last]
        closed += [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]
    return _merged(closed)


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time, as stretches that do not touch one another, in their order."""
    merged: list[Stretch] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
