"""How well the promises are kept, as far as the feeds tell that a tick looks at."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from freshness.aws.metrics import Metric
from freshness.domain.feed import FeedKey, State
from freshness.planning.planner import Action, Decision, Reason
from freshness.policy.policy import Policy

STATES = {
    State.STALE: Metric.FEEDS_STALE,
    State.REFRESHING: Metric.FEEDS_REFRESHING,
    State.FAILING: Metric.FEEDS_FAILING,
}
"""States of feeds that may be due. What is fresh, blocked or unsupported is not looked at."""
HELD_BACK = (Reason.OVER_BUDGET, Reason.OVER_SHARE, Reason.WAITING_FOR_SET, Reason.PAUSED)


def measure(
    decisions: Iterable[Decision], waiting: Collection[FeedKey], policy: Policy, now: datetime
) -> dict[Metric, int]:
    """Measure the feeds that were due when a tick began; `waiting` are those that it should have queued and did not."""
    measured = Counter({Metric.FEEDS_LEFT_OVER: len(waiting), Metric.FEEDS_TO_WARN_OF: 0, Metric.FEEDS_UNATTENDED: 0})
    for decision in decisions:
        feed, connection = decision.feed, decision.company.connections.get(decision.feed.connection_id)
        if connection is None:
            continue
        promise = policy.promise(feed.data_type, decision.company, connection)
        state = feed.state(promise, connection, now)
        if state not in STATES or promise.off:
            continue
        measured[STATES[state]] += 1
        age = feed.age(now)
        if age:
            percent = round(100 * (age / promise.fresh_within))
            measured[Metric.OLDEST_AGE_AGAINST_PROMISE] = max(measured[Metric.OLDEST_AGE_AGAINST_PROMISE], percent)
        if feed.keeps(promise, now):
            continue
        measured[Metric.FEEDS_OVER_PROMISE] += 1
        measured[Metric.FEEDS_TO_WARN_OF] += bool(promise.warn_after and age and age > promise.warn_after)
        held_back = decision.action is not Action.QUEUE and decision.reason in HELD_BACK
        measured[Metric.FEEDS_UNATTENDED] += held_back or feed.key in waiting
    return dict(measured)
