"""How well promises are kept, measured on the feeds that are due at a tick."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from freshness.aws.metrics import Metric
from freshness.domain.feeds.feed import FeedKey
from freshness.domain.feeds.feed_values import State
from freshness.planning.decision import Action, Decision, Reason
from freshness.policy.policy import Policy

STATES = {
    State.STALE: Metric.FEEDS_STALE,
    State.REFRESHING: Metric.FEEDS_REFRESHING,
    State.FAILING: Metric.FEEDS_FAILING,
}
"""The metric of each state that due feeds are counted in. Blocked and unsupported feeds are never due."""
HELD_BACK = (Reason.OVER_BUDGET, Reason.OVER_QUOTA, Reason.OVER_SPENDING, Reason.WAITING_FOR_SET, Reason.PAUSED)


@dataclass(frozen=True, slots=True)
class PromiseMetrics:
    """The metrics of one tick, over all batches of feeds that it reads."""

    measured: Counter[Metric] = field(
        default_factory=lambda: Counter(
            {Metric.FEEDS_LEFT_OVER: 0, Metric.FEEDS_TO_WARN_OF: 0, Metric.FEEDS_UNATTENDED: 0}
        )
    )

    def add(self, decisions: Iterable[Decision], unqueued: Collection[FeedKey], policy: Policy, now: datetime) -> None:
        """Measure a batch of feeds that the tick is done with. `unqueued` are the feeds that it could not queue."""
        measured = self.measured
        measured[Metric.FEEDS_LEFT_OVER] = len(unqueued)
        for decision in decisions:
            feed, connection = decision.feed, decision.company.connections.get(decision.feed.connection_id)
            if connection is None:
                continue
            promise = policy.promise(feed.data_type, decision.company, connection)
            in_force = promise.at(now)
            state = feed.state(promise, connection, now)
            age = feed.age(now)
            if state in (*STATES, State.FRESH, State.QUIET):
                measured[Metric.FEEDS_TO_WARN_OF] += bool(in_force.warn_after and age and age > in_force.warn_after)
            if state not in STATES or promise.off:
                continue
            measured[STATES[state]] += 1
            if age:
                percent = round(100 * (age / in_force.fresh_within))
                measured[Metric.OLDEST_AGE_AGAINST_PROMISE] = max(measured[Metric.OLDEST_AGE_AGAINST_PROMISE], percent)
            if feed.keeps(promise, now):
                continue
            measured[Metric.FEEDS_OVER_PROMISE] += 1
            held_back = decision.action is not Action.QUEUE and decision.reason in HELD_BACK
            measured[Metric.FEEDS_UNATTENDED] += held_back or feed.key in unqueued
