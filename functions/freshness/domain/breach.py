"""For how long promises are broken: what a fact shows of the time in which a copy was older than promised.

A breach begins when the copy becomes older than promised, and ends with the read that replaces it, whenever that
becomes known. While the connection is lapsed it waits for the customer. Time is recorded once a fact shows its end; the
part that is still open is held by the feed.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from freshness.domain.company import Connection
from freshness.domain.feed import Feed
from freshness.domain.feed_values import Breach
from freshness.domain.promise import Group, Promise
from freshness.domain.schedule import breaks_at
from freshness.domain.value import value


@value
class BreachTime:
    """A time in which a feed was older than promised, and whether it then waited for the customer."""

    data_type: str
    group: Group
    waiting: bool
    start: datetime
    end: datetime


@value
class OpenBreach:
    """The part of a feed's breach that is not recorded yet."""

    data_type: str
    breach: Breach

    def until(self, now: datetime) -> BreachTime:
        """Return it as a time that ends now."""
        return _time(self.data_type, self.breach, now)


def breach_times(
    before: Feed, after: Feed, promise: Promise, connection: Connection, now: datetime
) -> tuple[Feed, tuple[BreachTime, ...]]:
    """Return a feed after a fact with the breach that is open, and the times of breach that have ended.

    Of a feed that becomes known, only what follows counts.
    """
    breaks = breaks_at(after, promise, connection)
    is_broken = breaks is not None and breaks <= now
    since = before.breach.since if before.breach else None
    ended: Iterator[BreachTime] = iter(())
    if before.version and after.succeeded_at and after.succeeded_at != before.succeeded_at:
        # A tick may not have noticed the breach before it ended.
        start = since or breaks_at(before, promise, connection)
        ended = _between(before, promise, start, after.succeeded_at)
        since = max(breaks, since or breaks) if breaks and is_broken else None
    elif before.breach and not is_broken:
        ended, since = _between(before, promise, since, now), None
    elif breaks and is_broken and since is None and (after.broken_at or not before.version):
        since = breaks if before.version else now
    waiting = after.is_blocked(connection)
    if since and before.breach and before.breach.since == since and before.breach.waiting != waiting:
        changed_at = max(connection.status_at, after.end.at if after.end else connection.status_at)
        changed_at = min(max(changed_at, since), now)
        ended, since = _between(before, promise, since, changed_at), changed_at
    breach = Breach(since=since, group=promise.group, waiting=waiting) if since and is_broken else None
    return (after if breach == after.breach else replace(after, breach=breach)), tuple(ended)


def until_deleted(feed: Feed, now: datetime) -> tuple[BreachTime, ...]:
    """Return the time of the breach that is open while a feed is deleted."""
    breach = feed.breach
    return () if breach is None else (_time(feed.data_type, breach, now),)


def _time(data_type: str, breach: Breach, end: datetime) -> BreachTime:
    return BreachTime(data_type=data_type, group=breach.group, waiting=breach.waiting, start=breach.since, end=end)


def _between(before: Feed, promise: Promise, start: datetime | None, end: datetime) -> Iterator[BreachTime]:
    """Yield the time from the start of a breach to its end, unless it ended before it began."""
    if start is not None and start < end:
        breach = before.breach or Breach(since=start, group=promise.group)
        yield replace(_time(before.data_type, breach, end), start=start)
