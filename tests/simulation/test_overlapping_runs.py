"""Runs of a tick that a schedule starts each minute while another is at work, or was killed, in simulated time."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from codat_sandbox.settings import Settings
from freshness.app.services import Services
from freshness.app.tick import TIME_TO_FINISH, Run, run_tick
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import TIMEOUT, Crash, Fuse, Simulation

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
POLICY = Policy.model_validate({"default": {"fresh_within": "6 hours"}})


class Scheduled:
    """A schedule that starts a run each minute. There is more work than runs can do."""

    def __init__(self, loop: SimulatedLoop, *, takes_longer: timedelta = SECOND, killed_at: timedelta | None = None):
        self.simulation = Simulation(loop, Settings(companies=0), POLICY)
        self.takes_longer = takes_longer
        """How long the first run goes on once it should start no more work."""
        self.killed_at = killed_at
        """The time after which the first run is killed."""
        self.fuses: list[Fuse] = []
        """Those of the runs: a killed one makes no call, not even to give its lease back."""
        self.at_work: list[tuple[datetime, Run]] = []

    async def work(self, services: Services, run: Run) -> None:
        started = services.clock()
        while services.clock() < run.until:
            self.at_work.append((services.clock(), run))
            await asyncio.sleep(1)
            if self.killed_at and services.clock() >= started + self.killed_at:
                self.killed_at = None
                self.fuses[0].calls_left = 0
                raise Crash
        longer, self.takes_longer = self.takes_longer, SECOND
        await asyncio.sleep(longer.total_seconds())

    async def start_runs(self, minutes: int) -> list[tuple[datetime, Run]]:
        """Start a run each minute. Return when work was done, with its run."""

        async def start() -> None:
            self.fuses.append(Fuse())
            try:
                await run_tick(self.simulation.services(self.fuses[-1]), self.work, uuid4().hex, TIMEOUT)
            except Crash:
                return

        async with asyncio.TaskGroup() as runs:
            for _ in range(minutes):
                runs.create_task(start())
                await self.simulation.advance(MINUTE)
        return self.at_work


@pytest.mark.parametrize("seconds", [1, 4, 20, 29], ids="ends {} s after its last work starts".format)
def test_with_a_backlog_a_run_goes_on_within_seconds_of_the_end_of_the_last_one(seconds: int) -> None:
    """It should start no more work five seconds before the next run is started, and may end after that."""
    at_work = simulate(lambda loop: Scheduled(loop, takes_longer=seconds * SECOND).start_runs(6))

    assert len({run for _, run in at_work}) == 2
    idle_from, idle_until = longest_gap(at_work)
    next_minute = 5 * SECOND
    assert idle_until - idle_from <= max(seconds * SECOND, next_minute) + 2 * SECOND


def test_a_killed_run_delays_work_until_its_timeout_and_the_next_learns_of_it() -> None:
    at_work = simulate(lambda loop: Scheduled(loop, killed_at=30 * SECOND).start_runs(7))

    (began, _), (_, last) = at_work[0], at_work[-1]
    _, idle_until = longest_gap(at_work)
    assert began + TIMEOUT <= idle_until <= began + TIMEOUT + 2 * SECOND
    assert last.unfinished_since == began


def test_of_runs_that_start_long_before_the_end_of_another_none_waits() -> None:
    async def scenario(loop: SimulatedLoop) -> tuple[datetime, datetime]:
        scheduled = Scheduled(loop)
        running = asyncio.create_task(scheduled.start_runs(1))
        await scheduled.simulation.advance(2 * MINUTE)
        before = loop.clock()
        await run_tick(scheduled.simulation.services(Fuse()), scheduled.work, "another", TIMEOUT)
        after = loop.clock()
        await running
        assert len({run for _, run in scheduled.at_work}) == 1
        return before, after

    before, after = simulate(scenario)

    assert before == after


def test_a_run_has_the_same_end_however_long_it_waited() -> None:
    at_work = simulate(lambda loop: Scheduled(loop, takes_longer=20 * SECOND).start_runs(6))

    began, last = at_work[0][0], at_work[-1][1]
    assert last.until == began + 5 * MINUTE + TIMEOUT - TIME_TO_FINISH


def longest_gap(at_work: list[tuple[datetime, Run]]) -> tuple[datetime, datetime]:
    return max(pairwise(at for at, _ in at_work), key=lambda gap: gap[1] - gap[0])
