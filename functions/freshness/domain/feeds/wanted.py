"""What callers need of a feed beyond its promise, until the copy is that fresh."""

from dataclasses import replace

from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Wanted


def with_wanted(feed: Feed, wanted: Wanted) -> Feed:
    """Return a feed after a caller asked for data as of a time or later, unless the copy is that already."""
    if feed.is_as_of(wanted.not_before):
        return feed
    known = feed.wanted or wanted
    merged = Wanted(
        not_before=max(known.not_before, wanted.not_before),
        deadline=min(known.deadline, wanted.deadline),
        at_any_time=known.at_any_time or wanted.at_any_time,
    )
    return replace(feed, wanted=merged)


def without_satisfied(feed: Feed) -> Feed:
    """Return a feed without what was wanted, if the copy is that fresh now."""
    if feed.wanted is None or not feed.is_as_of(feed.wanted.not_before):
        return feed
    return replace(feed, wanted=None)
