"""How states, durations and times are written for people."""

import math
from datetime import datetime, timedelta
from itertools import pairwise

from freshness.domain.feeds.feed_values import State

SYMBOLS = {
    State.FRESH: "●",
    State.QUIET: "◌",
    State.REFRESHING: "◐",
    State.STALE: "○",
    State.FAILING: "▲",
    State.BLOCKED: "■",
    State.UNSUPPORTED: "·",
    State.OFF: "-",
}
"""The symbol of each state."""
MINUTE = timedelta(minutes=1)
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", MINUTE))


def codat_words(words: str) -> str:
    """Return what Codat says, marked as its words; empty if it says nothing."""
    quoted = words.replace('"', "'")
    return f'Codat: "{quoted}"' if words else ""


def duration(length: timedelta | None) -> str:
    """Return a duration, rounded down, such as `2 d 3 h`, `3 h 5 min`, `4 min` or `30 s`; `never` for `None`."""
    if length is None:
        return "never"
    for (unit, one), (part_unit, part) in pairwise(_UNITS):
        if length >= one:
            parts = length % one // part
            return f"{length // one} {unit}" + (f" {parts} {part_unit}" if parts else "")
    if length >= MINUTE:
        return f"{length // MINUTE} min"
    return f"{max(length, timedelta()) // timedelta(seconds=1)} s"


def moment(time: datetime | None) -> str:
    """Return a time in UTC to the second; `-` for `None`."""
    return "-" if time is None else time.strftime("%Y-%m-%d %H:%M:%S")


def read_times(ended_at: datetime, as_of: datetime | None, is_estimated: bool) -> str:
    """Return when a copy was read, and from when on its age counts."""
    if as_of is None or is_estimated:
        return f"ended {moment(ended_at)} UTC, from when its age counts; when it began is not known"
    return f"requested {moment(as_of)}, ended {moment(ended_at)} UTC, from when its age counts"


def changes(per_day: float, are_learned: bool) -> str:
    """Return how often data changes at the source, and how that is known."""
    source = "as learned from its syncs" if are_learned else "assumed until its own syncs show it"
    often = f"{per_day:.2g}"
    return f"about {'once' if often == '1' else f'{often} times'} a day, {source}"


def changed(is_modified: bool | None, since: datetime | None) -> str:
    """Return whether a dataset found changes, and from when on they are, if known; `-` if nothing is known."""
    if is_modified:
        return f"yes, from {moment(since)} on" if since else "yes"
    return "-" if is_modified is None else "no"


def percent(share: float | None) -> str:
    """Return a share in percent, rounded down so that only the whole is 100 %; `-` for `None`."""
    return "-" if share is None else f"{math.floor(share * 10_000 + 1e-9) / 100:.2f} %"
