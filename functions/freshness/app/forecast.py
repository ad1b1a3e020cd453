"""Publishing in advance which deadlines will be missed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from freshness.app.queueing.decide_now import spend_left_now
from freshness.app.services import Services
from freshness.app.tick import Failures, is_due
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import in_force
from freshness.domain.feeds.facts import MissExpected
from freshness.domain.feeds.feed import Feed
from freshness.planning.forecast import LOOK_AHEAD, AtRisk, at_risk

EVERY = timedelta(minutes=15)
BATCH = 2000
FORECAST = "forecast of deadlines"


def publish_misses(services: Services, failures: Failures, until: datetime) -> None:
    """Record which feeds will miss a deadline, unless that was done within `EVERY`. Stop at `until`."""
    control, now = services.tables.control, services.clock()
    if not services.policy.deadlines or not is_due(control.last_done(FORECAST), EVERY, now):
        return
    for risk in misses_ahead(services, now, until):
        fact = MissExpected(
            deadline=risk.moment.deadline.name,
            deadline_at=risk.moment.at,
            expected_at=risk.expected_at,
            succeeded_at=risk.feed.succeeded_at,
        )
        with failures.collected({"company_id": risk.feed.company_id, "data_type": risk.feed.data_type}):
            services.recorder.record_feed(risk.feed, risk.company, fact)
    if failures.temporary is None:
        control.put_done(FORECAST, now)


def misses_ahead(services: Services, now: datetime, until: datetime | None = None) -> Iterator[AtRisk]:
    """Yield the feeds that will miss a deadline within `LOOK_AHEAD`.

    The feeds that are due by then, perhaps all feeds, are read batch by batch. From `until` on, if it is given, no
    further batch is read.
    """
    tables, policy = services.tables, services.policy
    if not policy.deadlines:
        return
    companies: dict[str, Company] = {}

    def due() -> Iterator[Feed]:
        for batch in tables.feeds.due(now + LOOK_AHEAD, BATCH):
            if until and services.clock() >= until:
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
        pause=in_force(tables.control.paused(), now),
        spend_left=spend_left_now(services, now),
    )
