"""What a tick learns from the feeds that it queues: how often they change."""

from collections.abc import Iterable

from freshness.domain.learned.learned_rates import FeedSample, kind_of
from freshness.planning.decision import Action, Decision

MIN_SYNCS = 8
"""The minimum number of syncs in a feed's history for its rate to be reliable enough to learn from."""


def samples(decisions: Iterable[Decision]) -> list[FeedSample]:
    """Return the change rates of the feeds to be queued, without feeds that are queued again after a failed call."""
    learned = []
    for decision in decisions:
        feed = decision.feed
        if decision.action is not Action.QUEUE or feed.failed_calls or not feed.changes_per_day:
            continue
        if len(feed.history) < MIN_SYNCS:
            continue
        platform = decision.company.connections[feed.connection_id].platform
        learned.append(FeedSample(kind_of(platform, feed.data_type), feed.changes_per_day))
    return learned
