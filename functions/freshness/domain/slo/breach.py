"""For how long promises are broken.

A breach begins when the copy becomes older than promised. It ends with the read that replaces the copy, whenever that
becomes known. While a customer must act first, the breach waits for the customer. Its time is recorded once a fact
shows its end. The feed holds the part that is still open.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from freshness.domain.companies.company import Connection
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Breach
from freshness.domain.feeds.schedule import breaks_at
from freshness.domain.promises.promise import AttainmentKey, Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class BreachTime:
    """A time during which a feed was older than promised. `waiting` is whether it then waited for the customer."""

    data_type: str
    group: AttainmentKey
    waiting: bool
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreach:
    """The part of a feed's breach that is not recorded yet."""

    data_type: str
    breach: Breach

    def until(self, now: datetime) -> BreachTime:
        return _time(self.data_type, self.breach, now)


def breach_times(
    before: Feed, after: Feed, breaks: datetime | None, promise: Promise, connection: Connection, now: datetime
) -> tuple[Feed, tuple[BreachTime, ...]]:
    """Return the feed after a fact with the breach that is now open, and the times of breach that have ended.

    `breaks` is when the copy becomes older than promised.

    Four things may happen. A new copy ends the breach. A laxer promise ends it. A breach opens. Or an open breach
    begins or ceases to wait for the customer, which divides it. For a feed recorded for the first time, the breach
    starts now.
    """
    known, broke_at = before.breach, breaks if breaks and breaks <= now else None
    since: datetime | None
    ended: tuple[BreachTime, ...] = ()
    if before.version and after.succeeded_at and after.succeeded_at != before.succeeded_at:
        since, ended = _ended_by_new_copy(before, after.succeeded_at, broke_at, promise, connection)
    elif broke_at is None:
        until = connection.status_at if connection.is_over else now
        since, ended = None, _time_between(before, promise, known.since if known else None, until)
    elif known:
        since = known.since
    elif before.version:
        # A breach that no tick has published yet is not open.
        since = broke_at if after.broken_at else None
    else:
        since = now
    waiting = after.is_blocked(connection)
    if known and since == known.since and waiting != known.waiting:
        since = _waiting_changed_at(after, connection, known.since, now)
        ended = _time_between(before, promise, known.since, since)
    breach = Breach(since=since, group=promise.group, waiting=waiting) if since else None
    return (after if breach == after.breach else replace(after, breach=breach)), ended


def _ended_by_new_copy(
    before: Feed, copied_at: datetime, broke_at: datetime | None, promise: Promise, connection: Connection
) -> tuple[datetime | None, tuple[BreachTime, ...]]:
    """Return since when the new copy is itself in breach, or `None`, and the breach of the copy that it replaced.

    That breach counts even if no tick has noticed it.
    """
    known = before.breach
    start = known.since if known else breaks_at(before, promise, connection)
    since = max(broke_at, known.since) if broke_at and known else broke_at
    return since, _time_between(before, promise, start, copied_at)


def until_deleted(feed: Feed, now: datetime) -> tuple[BreachTime, ...]:
    """Return the time of a deleted feed's open breach, which ends now; empty if none was open."""
    breach = feed.breach
    return () if breach is None else (_time(feed.data_type, breach, now),)


def _time(data_type: str, breach: Breach, end: datetime) -> BreachTime:
    return BreachTime(data_type=data_type, group=breach.group, waiting=breach.waiting, start=breach.since, end=end)


def _waiting_changed_at(feed: Feed, connection: Connection, since: datetime, now: datetime) -> datetime:
    """Return when a breach that is open since `since` began, or ceased, to wait for the customer."""
    known = (connection.status_at, connection.lapsed_at, feed.end.at if feed.end else None)
    latest = max(at for at in known if at)
    # A success of another data type may have shown that the connection is back: it is recorded at once.
    return min(max(latest, since), now) if feed.is_blocked(connection) or latest > since else now


def _time_between(before: Feed, promise: Promise, start: datetime | None, end: datetime) -> tuple[BreachTime, ...]:
    """Return the time from the start of a breach to its end; empty if it ended before it began."""
    if start is None or start >= end:
        return ()
    breach = before.breach or Breach(since=start, group=promise.group)
    return (replace(_time(before.data_type, breach, end), start=start),)
