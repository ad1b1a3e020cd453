"""For how long promises are broken: what a fact shows of the time in which a copy was older than promised.

A breach begins when the copy becomes older than promised, and ends with the read that replaces it, whenever that
becomes known. While the connection is lapsed it waits for the customer. Time is recorded once a fact shows its end; the
part that is still open is held by the feed.
"""

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
    opened_at = before.breach.since if before.breach else None
    broke_at = _broke_at(after, promise, connection, now)
    ended: tuple[BreachTime, ...] = ()
    since = opened_at
    if before.version and after.succeeded_at and after.succeeded_at != before.succeeded_at:
        # A read replaced the copy. A tick may not have noticed the breach before that.
        start = opened_at or breaks_at(before, promise, connection)
        ended = _time_between(before, promise, start, after.succeeded_at)
        since = max(broke_at, opened_at or broke_at) if broke_at else None
    elif opened_at and not broke_at:
        # Less is promised than before.
        ended, since = _time_between(before, promise, opened_at, now), None
    elif broke_at and not opened_at and (after.broken_at or not before.version):
        since = broke_at if before.version else now
    waiting = after.is_blocked(connection)
    if since and before.breach and since == opened_at and waiting != before.breach.waiting:
        # From now on the breach counts as the customer's, or no longer.
        turned_at = _waiting_changed_at(after, connection, since, now)
        ended, since = _time_between(before, promise, since, turned_at), turned_at
    breach = Breach(since=since, group=promise.group, waiting=waiting) if since and broke_at else None
    return (after if breach == after.breach else replace(after, breach=breach)), ended


def until_deleted(feed: Feed, now: datetime) -> tuple[BreachTime, ...]:
    """Return the time of the breach that is open while a feed is deleted."""
    breach = feed.breach
    return () if breach is None else (_time(feed.data_type, breach, now),)


def _time(data_type: str, breach: Breach, end: datetime) -> BreachTime:
    return BreachTime(data_type=data_type, group=breach.group, waiting=breach.waiting, start=breach.since, end=end)


def _broke_at(feed: Feed, promise: Promise, connection: Connection, now: datetime) -> datetime | None:
    """Return when the copy became older than promised; `None` if it is not by now."""
    breaks = breaks_at(feed, promise, connection)
    return breaks if breaks and breaks <= now else None


def _waiting_changed_at(feed: Feed, connection: Connection, since: datetime, now: datetime) -> datetime:
    """Return when a breach that is open since a time began, or ceased, to wait for the customer."""
    latest = max(connection.status_at, feed.end.at if feed.end else connection.status_at)
    return min(max(latest, since), now)


def _time_between(before: Feed, promise: Promise, start: datetime | None, end: datetime) -> tuple[BreachTime, ...]:
    """Return the time from the start of a breach to its end; none if it ended before it began."""
    if start is None or start >= end:
        return ()
    breach = before.breach or Breach(since=start, group=promise.group)
    return (replace(_time(before.data_type, breach, end), start=start),)
