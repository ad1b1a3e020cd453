"""What a tick learns from the feeds that it queues: what their syncs showed since they were last queued."""

from collections.abc import Iterable

from freshness.domain.fleet import FeedSample, kind_of
from freshness.domain.times import BEGINNING
from freshness.planning.decision import Action, Decision
from freshness.policy.policy import Policy

MIN_SYNCS = 8
"""The minimum number of syncs in a feed's history for its rate to be reliable enough to learn from."""


def samples(decisions: Iterable[Decision], policy: Policy) -> list[FeedSample]:
    """Return what the feeds to be queued show of their kinds. No sync counts twice: only those since the last request.

    A feed that is queued again because the call failed shows nothing more.
    """
    learned = []
    for decision in decisions:
        feed = decision.feed
        if decision.action is not Action.QUEUE or feed.failed_calls or not feed.changes_per_day:
            continue
        if len(feed.history) < MIN_SYNCS:
            continue
        connection = decision.company.connections[feed.connection_id]
        since = feed.request.at if feed.request else BEGINNING
        learned.append(
            FeedSample(
                kind_of(connection.platform, feed.data_type),
                feed.changes_per_day,
                tuple(each for each in feed.history.intervals if each.end > since),
                policy.promise(feed.data_type, decision.company, connection).rhythm.zone,
            )
        )
    return learned
