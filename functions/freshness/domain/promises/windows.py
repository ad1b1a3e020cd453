"""Time windows: when refreshes may be queued, and when not."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from operator import itemgetter

from freshness.domain.promises.calendar_days import repeat_weekly
from freshness.domain.promises.hours import DAY, Hours, Interval

WEEKLY_HORIZON = 8 * DAY
"""A week and a day: this long before and after a time covers every case of windows that repeat weekly."""
LONGEST_HORIZON = 400 * DAY
"""The horizon for windows of other days: longer than any promise."""
_LONGEST_MONTH = 31 * DAY


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
    return not windows or _closed_at(windows, at) is None


def next_allowed(windows: tuple[Window, ...], at: datetime) -> datetime | None:
    """Return the first time, `at` or later, at which a refresh may be queued; `None` if there is none."""
    closed = _closed_at(windows, at) if windows else None
    if closed is None:
        return at
    _, end = closed
    return end if allowed(windows, end) else None


def planned(windows: tuple[Window, ...], at: datetime, *, after: datetime, room: timedelta) -> datetime | None:
    """Return when to queue a refresh that should be queued at `at`; `None` if it may never be queued.

    That is `at` itself if refreshes are allowed then and for `room` after it. Otherwise it is the latest earlier time
    for which that is so. If that is not later than `after`, it is the next time at which refreshes are allowed. A later
    `at` never gives an earlier result.
    """
    closed = _in_or_next(_closed_around(windows, _month(at), room), at) if windows else None
    if closed is None or at <= closed[0]:
        return at
    start, end = closed
    latest = start if start > after else end
    return latest if allowed(windows, latest) else None


def closed_between(windows: tuple[Window, ...], first: date, last: date) -> list[Interval]:
    """Return the intervals between two days in which no refresh may be queued, in ascending order.

    If windows allow only some hours, the first and the last interval are cut off at the two days. Others may reach
    beyond.
    """
    # Hours may last until the end of the next day, and zones differ from UTC by less than a day.
    days = [first + number * DAY for number in range(-2, (last - first).days + 2)]
    intervals = [
        (window.allows, interval)
        for window in windows
        for day in days
        if (interval := window.interval(day)) is not None
    ]
    closed = [interval for allows, interval in intervals if not allows]
    if any(window.allows for window in windows):
        opened = _merged(interval for allows, interval in intervals if allows)
        beginning, ending = (datetime.combine(day, time(), UTC) for day in (first, last))
        ends = [beginning, *(end for _, end in opened)]
        starts = [*(start for start, _ in opened), ending]
        closed += [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]
    return _merged(closed)


def _month(at: datetime) -> date:
    return at.date().replace(day=1)


@lru_cache(maxsize=1024)
def _closed_around(windows: tuple[Window, ...], month: date, room: timedelta = timedelta()) -> list[Interval]:
    """Return the intervals around a month in which no refresh may be queued, in ascending order.

    Each begins `room` early: a refresh must be allowed for that long.
    """
    is_weekly = all(repeat_weekly(window.days) and not window.holidays for window in windows)
    horizon = WEEKLY_HORIZON if is_weekly else LONGEST_HORIZON
    closed = closed_between(windows, month - horizon, month + _LONGEST_MONTH + horizon)
    return _merged((start - room, end) for start, end in closed)


def _closed_at(windows: tuple[Window, ...], at: datetime) -> Interval | None:
    """Return the interval around `at` in which no refresh may be queued; `None` if one may be queued at `at`."""
    closed = _in_or_next(_closed_around(windows, _month(at)), at)
    return closed if closed and closed[0] <= at else None


_end = itemgetter(1)


def _in_or_next(intervals: list[Interval], at: datetime) -> Interval | None:
    """Return the interval that a time is in, else the next; `None` if there is neither."""
    index = bisect_right(intervals, at, key=_end)
    return intervals[index] if index < len(intervals) else None


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Merge intervals that overlap or touch, and return them in ascending order."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
