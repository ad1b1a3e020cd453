"""Time windows in the week: when refreshes may be queued, and when not."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from freshness.domain.hours import Hours, Interval

HORIZON_DAYS = 8
"""A week and a day. Windows repeat weekly, so that this many days before and after a time cover every case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Hours):
    """Hours that restrict when refreshes are queued."""

    name: str
    allows: bool
    """Whether refreshes are queued only within the window (true), or never within it (false)."""


def allowed(windows: tuple[Window, ...], at: datetime) -> bool:
    """Return whether a refresh may be queued at a time.

    It may if the time is in no window that forbids refreshes, and in at least one that allows them if there is any.
    """
    return not windows or not any(start <= at < end for start, end in closed(windows, at.date()))


def next_allowed(windows: tuple[Window, ...], at: datetime) -> datetime | None:
    """Return the first time from `at` on at which a refresh may be queued, or `None` if there is none."""
    if not windows:
        return at
    for start, end in closed(windows, at.date()):
        if start <= at < end:
            at = end
    return at if allowed(windows, at) else None


def planned(windows: tuple[Window, ...], at: datetime, *, after: datetime, room: timedelta) -> datetime | None:
    """Return when to queue a refresh that should be queued at `at`, or `None` if it may never be queued.

    That is `at` itself if refreshes are allowed then and for `room` after it. Otherwise it is the latest earlier time
    for which this is so, or, if that is not later than `after`, the next time at which refreshes are allowed. A later
    `at` never gives an earlier result.
    """
    if not windows:
        return at
    extended = _merged((start - room, end) for start, end in closed(windows, at.date()))
    for start, end in extended:
        if start < at < end:
            latest = start if start > after else end
            return latest if allowed(windows, latest) else None
    return at


@lru_cache(maxsize=1024)
def closed(windows: tuple[Window, ...], day: date) -> list[Interval]:
    """Return the intervals around a day in which no refresh may be queued, in ascending order."""
    days = [day + timedelta(days=n) for n in range(-HORIZON_DAYS, HORIZON_DAYS + 1)]
    intervals = [
        (window.allows, interval)
        for window in windows
        for day in days
        if (interval := window.interval(day)) is not None
    ]
    closed = [interval for allows, interval in intervals if not allows]
    if any(window.allows for window in windows):
        opened = _merged(interval for allows, interval in intervals if allows)
        first, last = (datetime.combine(day, time(), UTC) for day in (days[0], days[-1]))
        ends = [first, *(end for _, end in opened)]
        starts = [*(start for start, _ in opened), last]
        closed += [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]
    return _merged(closed)


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Merge intervals that overlap or touch, and return them in ascending order."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
