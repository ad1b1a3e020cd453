"""The breaches of the last day, each as a span of time, of the feeds that were older than promised for longest.

They are computed from the times of a feed's last copies, so nothing more is recorded or read for them. If a feed has
more reads a day than are kept, its earlier breaches are left out.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from freshness.app.page.view import FeedBreaches, Span
from freshness.app.reading.views import FeedView
from freshness.domain.companies.company import Connection
from freshness.domain.feeds.feed import Feed
from freshness.domain.promises.promise import Promise

LONGEST = 12
"""The most feeds that the timeline names."""
SHORTEST = timedelta(minutes=1)
"""Shorter breaches could not be seen on the timeline."""


def breaches_of(feed: Feed, view: FeedView, promise: Promise, connection: Connection, now: datetime) -> Iterator[Span]:
    """Yield the spans in which a feed was older than promised, as far as its last copies show, the earliest first."""
    ends = feed.history.last_successes
    for made_at, next_at in pairwise(ends):
        breaks_at = promise.breaks_at(made_at)
        if breaks_at < next_at:
            yield from _split(Span(breaks_at, next_at), connection)
    if view.is_broken and view.breaks_at:
        breach = feed.breach
        if breach is None or not breach.waiting:
            yield from _split(Span(view.breaks_at, now, is_open=True), connection)
            return
        if view.breaks_at < breach.since:
            yield Span(view.breaks_at, breach.since)
        yield Span(breach.since, now, waiting=True, is_open=True)


def longest(found: Iterable[FeedBreaches]) -> tuple[FeedBreaches, ...]:
    """Return the `LONGEST` feeds that were older than promised for longest, the longest first."""
    return tuple(sorted(found, key=lambda each: (-each.length, each.feed.key))[:LONGEST])


def within(spans: Iterable[Span], since: datetime) -> tuple[Span, ...]:
    """Return the parts of spans after a time, without those shorter than `SHORTEST`."""
    later = (span._replace(start=max(span.start, since)) for span in spans)
    return tuple(span for span in later if span.length >= SHORTEST)


def _split(span: Span, connection: Connection) -> Iterator[Span]:
    """Yield a span, in two parts if the customer relinked within it: the first part waited for the customer.

    Nothing was promised while our own user had unlinked the connection.
    """
    reconnected_at, unlinked_at = connection.reconnected_at, connection.unlinked_at
    if reconnected_at and span.start < reconnected_at < span.end:
        if unlinked_at is None or unlinked_at > reconnected_at:
            yield Span(span.start, reconnected_at, waiting=True)
        elif span.start < unlinked_at:
            yield Span(span.start, unlinked_at)
        span = span._replace(start=reconnected_at)
    yield span
