"""How well the promises are kept, as far as the rows tell that a tick looks at."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from freshness.metrics import Metric
from freshness.planner import Action, Decision, Reason
from freshness.policy import Policy
from freshness.row import RowKey, State

STATES = {
    State.STALE: Metric.ROWS_STALE,
    State.REFRESHING: Metric.ROWS_REFRESHING,
    State.FAILING: Metric.ROWS_FAILING,
}
"""States of rows that may be due. What is fresh, blocked or unsupported is not looked at."""
HELD_BACK = (Reason.OVER_BUDGET, Reason.OVER_SHARE, Reason.WAITING_FOR_SET, Reason.PAUSED)


def measure(
    decisions: Iterable[Decision], waiting: Collection[RowKey], policy: Policy, now: datetime
) -> dict[Metric, int]:
    """Measure the rows that were due when a tick began; `waiting` are those that it should have queued and did not."""
    measured = Counter({Metric.ROWS_LEFT_OVER: len(waiting), Metric.ROWS_TO_WARN_OF: 0, Metric.ROWS_UNATTENDED: 0})
    for decision in decisions:
        row, connection = decision.row, decision.company.connections.get(decision.row.connection_id)
        if connection is None:
            continue
        promise = policy.promise(row.data_type, decision.company, connection)
        state = row.state(promise, connection, now)
        if state not in STATES or promise.off:
            continue
        measured[STATES[state]] += 1
        age = row.age(now)
        if age:
            percent = round(100 * (age / promise.fresh_within))
            measured[Metric.OLDEST_AGE_AGAINST_PROMISE] = max(measured[Metric.OLDEST_AGE_AGAINST_PROMISE], percent)
        if row.keeps(promise, now):
            continue
        measured[Metric.ROWS_OVER_PROMISE] += 1
        measured[Metric.ROWS_TO_WARN_OF] += bool(promise.warn_after and age and age > promise.warn_after)
        held_back = decision.action is not Action.QUEUE and decision.reason in HELD_BACK
        measured[Metric.ROWS_UNATTENDED] += held_back or row.key in waiting
    return dict(measured)
