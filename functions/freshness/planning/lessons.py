"""What a tick learns from the feeds that it queues: what their syncs showed since they were last queued."""

from collections.abc import Iterable, Iterator

from freshness.domain.calibration import Prediction
from freshness.domain.feed import Feed
from freshness.domain.fleet import Lesson, kind_of
from freshness.domain.promise import Promise
from freshness.domain.schedule import predictions
from freshness.domain.times import BEGINNING
from freshness.planning.decision import Action, Decision
from freshness.policy.policy import Policy

MIN_SYNCS = 8
"""The minimum number of syncs in a feed's history for its rate to be reliable enough to learn from."""


def lessons(decisions: Iterable[Decision], policy: Policy) -> list[Lesson]:
    """Return what the feeds to be queued show of their kinds. No sync counts twice: only those since the last request.

    A feed that is queued again because the call failed shows nothing more.
    """
    learned = []
    for feed, kind, promise in _queued(decisions, policy):
        if feed.changes_per_day and len(feed.history) >= MIN_SYNCS:
            since = feed.request.at if feed.request else BEGINNING
            intervals = tuple(each for each in feed.history.intervals if each.end > since)
            learned.append(Lesson(kind, feed.changes_per_day, intervals, promise.rhythm.zone))
    return learned


def outcomes(decisions: Iterable[Decision], policy: Policy) -> list[tuple[str, Prediction]]:
    """Return what was predicted of the feeds to be queued, by kind, before each sync since their last request.

    Like `lessons`, it counts no sync twice, however often webhooks reported it.
    """
    return [
        (kind, prediction)
        for feed, kind, promise in _queued(decisions, policy)
        if feed.request
        for prediction in predictions(feed, promise, feed.request.at)
    ]


def _queued(decisions: Iterable[Decision], policy: Policy) -> Iterator[tuple[Feed, str, Promise]]:
    for decision in decisions:
        feed = decision.feed
        if decision.action is Action.QUEUE and not feed.failed_calls:
            connection = decision.company.connections[feed.connection_id]
            promise = policy.promise(feed.data_type, decision.company, connection)
            yield feed, kind_of(connection.platform, feed.data_type), promise
