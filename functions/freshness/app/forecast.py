"""Publishing in advance which deadlines will be missed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from freshness.app.deciding import affordable_now
from freshness.app.record import Recorder
from freshness.aws.tables import Tables
from freshness.domain.company import Company
from freshness.domain.facts import MissExpected
from freshness.domain.feed import Feed
from freshness.planning.forecast import LOOK_AHEAD, AtRisk, at_risk
from freshness.policy.policy import Policy

EVERY = timedelta(minutes=15)
BATCH = 2000
LEASE = "forecast of deadlines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Looks ahead at the deadlines of all feeds."""

    recorder: Recorder
    clock: Callable[[], datetime]

    def publish(self, owner: str, until: datetime) -> None:
        """Record which feeds will miss a deadline, every `EVERY`: a lease kept until it expires serves as the timer.

        Feeds that are not reached by `until` are left out.
        """
        control, now = self.recorder.tables.control, self.clock()
        if not self.recorder.policy.deadlines or not control.acquire(LEASE, owner, until=now + EVERY, now=now):
            return
        for risk in misses_ahead(self.recorder.tables, self.recorder.policy, now, lambda: self.clock() < until):
            deadline = risk.moment.deadline
            fact = MissExpected(
                deadline=deadline.name,
                deadline_at=risk.moment.at,
                expected_at=risk.expected_at,
                succeeded_at=risk.feed.succeeded_at,
            )
            self.recorder.feed(risk.feed, risk.company, fact)


def misses_ahead(
    tables: Tables, policy: Policy, now: datetime, is_time_left: Callable[[], bool] = lambda: True
) -> Iterator[AtRisk]:
    """Yield the feeds that will miss a deadline, from the feeds that are due by then.

    They are read batch by batch, while time is left: before a deadline all feeds may be due.
    """
    if not policy.deadlines:
        return
    companies: dict[str, Company] = {}

    def due() -> Iterator[Feed]:
        for batch in tables.feeds.due(now + LOOK_AHEAD, BATCH):
            if not is_time_left():
                return
            companies.clear()
            companies.update(tables.companies.get_many({feed.company_id for feed in batch}))
            yield from batch

    yield from at_risk(
        due(),
        companies,
        policy,
        tables.control.api_limits(),
        now,
        paused=tables.control.is_paused(),
        affordable=affordable_now(tables, policy, now),
    )
