"""Publishing in advance which deadlines will be missed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from freshness.app.deciding import affordable_now
from freshness.app.record import Recorder
from freshness.aws.tables import Tables
from freshness.domain.facts import MissExpected
from freshness.planning.forecast import AHEAD, AtRisk, at_risk
from freshness.policy.policy import Policy

EVERY = timedelta(minutes=15)
BATCH = 2000
LEASE = "forecast of deadlines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Looks ahead at the deadlines of all feeds."""

    recorder: Recorder
    clock: Callable[[], datetime]

    def publish(self, owner: str) -> None:
        """Record which feeds will miss a deadline, every `EVERY`: a lease kept until it expires serves as the timer."""
        control, now = self.recorder.tables.control, self.clock()
        if not self.recorder.policy.deadlines or not control.acquire(LEASE, owner, until=now + EVERY, now=now):
            return
        for risk in misses_ahead(self.recorder.tables, self.recorder.policy, now):
            deadline = risk.moment.deadline
            fact = MissExpected(
                deadline=deadline.name,
                deadline_at=risk.moment.at,
                expected_at=risk.expected_at,
                succeeded_at=risk.feed.succeeded_at,
            )
            self.recorder.feed(risk.feed, risk.company, fact)


def misses_ahead(tables: Tables, policy: Policy, now: datetime) -> list[AtRisk]:
    """Return the feeds that will miss a deadline, from the feeds that are due by then."""
    if not policy.deadlines:
        return []
    feeds = list(chain.from_iterable(tables.feeds.due(now + AHEAD, BATCH)))
    companies = tables.companies.get_many({feed.company_id for feed in feeds})
    return list(
        at_risk(
            feeds,
            companies,
            policy,
            tables.control.api_limits(),
            now,
            paused=tables.control.is_paused(),
            affordable=affordable_now(tables, policy, now),
        )
    )
