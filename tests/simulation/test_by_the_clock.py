"""Hours and a deadline over the week in which clocks change, through ticks, Codat, webhooks and tables."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from random import Random
from typing import Any, cast
from zoneinfo import ZoneInfo

from codat_sandbox.platforms import MYOB
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Simulation, reliable
from tests.builders import DAY, HOUR, MINUTE, a_policy

LONDON = ZoneInfo("Europe/London")
EVERY = 5 * MINUTE
"""The time between ticks; in AWS they are a minute apart, which promises allow for."""
WORKING_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
OFFICE = {"hours": "08:00 to 18:00", "days": WORKING_DAYS, "time_zone": "Europe/London"}
POLICY = a_policy(
    "1 week",
    rules=[{"name": "office", **OFFICE, "data_types": {"invoices": {"fresh_within": "2 hours"}}}],
    deadlines=[
        {
            "name": "ready",
            "by": "09:00",
            "days": WORKING_DAYS,
            "time_zone": "Europe/London",
            "fresh_within": "1 hour",
            "data_types": ["balanceSheet"],
        }
    ],
)
SETTINGS = reliable(never_synced=0, needs_relink=0)
START = datetime(2026, 10, 22, 12, tzinfo=UTC)
"""A Thursday. Clocks in London go back on the Sunday after it."""


class Observed:
    """A simulation of two companies, and when their data types were refreshed."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.simulation = Simulation(loop, SETTINGS, POLICY)
        for _ in range(2):
            self.simulation.backend.add_company((MYOB,), loop.clock())

    async def run(self, duration: timedelta) -> None:
        await self.simulation.run_for(duration, every=EVERY, random=Random(0), lost=0.1, skips_idle=True)

    def refreshed(self, data_type: str) -> list[list[datetime]]:
        """Return, for each company, when a refresh of a data type that ended was requested, and so what it is as of."""
        return [
            sorted(
                dataset.requested_at
                for dataset in self.simulation.tables.datasets.of_company(company.company_id)
                if dataset.data_type == data_type and dataset.ended_at
            )
            for company in self.simulation.tables.companies.scan()
        ]


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a time in London in October 2026."""
    return datetime(2026, 10, day, hour, minute, tzinfo=LONDON)


def within(times: Iterable[datetime], start: datetime, end: datetime) -> list[datetime]:
    return [each for each in times if start <= each < end]


def test_promises_hold_by_the_clock_of_the_customer_through_the_week_in_which_clocks_change() -> None:
    async def scenario(loop: SimulatedLoop) -> Observed:
        observed = Observed(loop)
        await observed.run(5 * DAY)
        return observed

    observed = simulate(cast(Any, scenario), START)

    assert at(23, 9).astimezone(UTC).time() == time(8)
    assert at(26, 9).astimezone(UTC).time() == time(9)
    for statements in observed.refreshed("balanceSheet"):
        for day in (23, 26, 27):
            assert len(within(statements, at(day, 8), at(day, 9))) == 1
        assert len(within(statements, at(22, 18), at(27, 12))) == 3
    for invoices in observed.refreshed("invoices"):
        for day in (23, 26, 27):
            opened = [*within(invoices, at(day, 6), at(day, 18)), min(at(day, 18), observed.loop.clock())]
            assert opened[0] < at(day, 8)
            assert max(later - earlier for earlier, later in pairwise(opened)) <= 2 * HOUR + EVERY
        assert within(invoices, at(23, 18), at(26, 6)) == []
    assert not [each for each in observed.simulation.published if "/at risk/" in each]


def test_a_deadline_that_an_outage_keeps_from_being_met_is_reported_in_advance_and_served_after_it() -> None:
    async def scenario(loop: SimulatedLoop) -> Observed:
        observed = Observed(loop)
        await observed.run(at(23, 7) - START)
        observed.simulation.tables.control.pause()
        await observed.run(3 * HOUR)
        observed.simulation.tables.control.resume(observed.simulation.clock())
        await observed.run(HOUR)
        return observed

    observed = simulate(cast(Any, scenario), START)

    at_risk = [each for each in observed.simulation.published if "/at risk/" in each]
    assert sorted(each.split("/")[1] for each in at_risk) == ["balanceSheet"] * 2
    for statements in observed.refreshed("balanceSheet"):
        assert within(statements, at(23, 6), at(23, 10)) == []
        assert len(within(statements, at(23, 10), at(23, 11))) == 1
