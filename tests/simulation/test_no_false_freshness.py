"""What is said of feeds, compared with the truth at Codat after every step, while webhooks are late, early or lost."""

import asyncio
from datetime import timedelta
from random import Random

import pytest

from codat_sandbox.platforms import MYOB
from codat_sandbox.settings import Settings
from freshness.app.ensure.accept import Ask, EnsureFresh
from freshness.codat.client import Codat
from freshness.domain.feeds.freshness_request import FeedState
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation
from tests.builders import MINUTE, SECOND, a_policy

MILLISECOND = timedelta(milliseconds=1)
"""Durations of syncs are kept to the millisecond."""
POLICY = a_policy("1 week")
SETTINGS = Settings(
    companies=0,
    sync_time_min=5 * SECOND,
    sync_time_max=80 * SECOND,
    # A webhook is generated up to this long after the end, if other syncs of the company still run.
    read_completed_within=30 * SECOND,
    fails_first=0,
    not_supported=0,
    permissions_error=0,
    never_synced=0,
    calls_per_minute=100_000,
)


class World:
    """A company whose data callers ask for, one after another."""

    def __init__(self, loop: SimulatedLoop, seed: int) -> None:
        self.simulation = Simulation(loop, SETTINGS.model_copy(update={"seed": seed}), POLICY)
        self.simulation.backend.add_company((MYOB,), loop.clock())
        self.answers = 0

    def require_true(self) -> None:
        """Fail if a feed is said to be as of a time at which its successful read had not been requested yet."""
        for truth in self.simulation.backend.truth(self.simulation.loop.clock()):
            feed = self.simulation.tables.feeds.get(truth.company.id, str(truth.data_type), truth.connection.id)
            if feed.as_of and not feed.as_of.is_estimated:
                assert truth.latest_successful
                assert feed.as_of.at <= truth.latest_successful.requested + MILLISECOND, feed.key

    async def ask(self, times: int) -> None:
        """Ask again and again for data that is as of now."""
        simulation = self.simulation
        [company] = simulation.tables.companies.scan()
        data_types = tuple(sorted({feed.data_type for feed in simulation.feeds()}))[:3]
        services = simulation.services(Fuse())
        async with services.codat(simulation.clock() + timedelta(hours=9), on_demand=True) as codat:

            async def client() -> Codat:
                return codat

            for number in range(times):
                ensure, now = EnsureFresh(services=services), simulation.clock()
                ask = Ask(data_types=data_types[number % 2 :], not_before=now, deadline=now + 10 * MINUTE)
                account = simulation.tables.control.account()
                progress = ensure.accept(company, account, ask, actor=OPERATOR)
                progress = await ensure.wait_until(progress, now + 10 * MINUTE, client)
                self.require_true()
                for result in progress.request.results:
                    assert result.state is not FeedState.FRESH or (result.as_of and result.as_of >= now)
                self.answers += progress.request.is_fresh
                await asyncio.sleep(0.3)

    async def keep_delivering(self, random: Random) -> None:
        """Deliver each webhook within 2 seconds, and compare with the truth."""
        while True:
            self.simulation.collect()
            self.simulation.deliver_all()
            self.require_true()
            await asyncio.sleep(2 * random.random())


@pytest.mark.parametrize("seed", range(2))
def test_no_read_for_callers_is_ended_by_the_webhook_of_the_one_before(seed: int) -> None:
    async def run(loop: SimulatedLoop) -> World:
        world = World(loop, seed)
        await world.simulation.check(Fuse())
        await world.simulation.queue(Fuse())
        await world.simulation.advance(2 * MINUTE)
        await world.simulation.check(Fuse())
        deliveries = asyncio.create_task(world.keep_delivering(Random(seed)))
        await asyncio.gather(world.ask(3), world.ask(3))
        if deliveries.done():
            deliveries.result()
        deliveries.cancel()
        return world

    world = simulate(run)
    assert world.answers == 6


@pytest.mark.parametrize(("took", "is_enough"), [(MINUTE, True), (21 * MINUTE, False)], ids=str)
def test_when_others_requested_a_copy_is_asked_before_it_serves_a_caller(took: timedelta, is_enough: bool) -> None:
    settings = SETTINGS.model_copy(update={"sync_time_min": took, "sync_time_max": took})

    async def run(loop: SimulatedLoop) -> tuple[int, int, bool]:
        simulation = Simulation(loop, settings, POLICY)
        simulation.backend.add_company((MYOB,), loop.clock())
        await simulation.check(Fuse())
        await simulation.advance(60 * MINUTE)
        await simulation.check(Fuse())
        truth = next(iter(simulation.backend.truth(loop.clock())))
        simulation.pending.clear()
        simulation.refresh_by_others(truth.company.id, str(truth.data_type), truth.connection.id)
        await simulation.advance(took + MINUTE)
        simulation.deliver_all()
        simulation.calls.clear()
        services, now = simulation.services(Fuse()), simulation.clock()
        ensure = EnsureFresh(services=services)
        async with services.codat(now + 60 * MINUTE, on_demand=True) as codat:

            async def client() -> Codat:
                return codat

            [company] = simulation.tables.companies.scan()
            ask = Ask(data_types=(str(truth.data_type),), not_before=now - 5 * MINUTE, deadline=now + 60 * MINUTE)
            account = simulation.tables.control.account()
            progress = ensure.accept(company, account, ask, actor=OPERATOR)
            assert not progress.request.is_done
            progress = await ensure.wait_until(progress, now + 60 * MINUTE, client)
        queued = sum(number for call, number in simulation.calls.items() if call.startswith("POST"))
        return simulation.calls.total(), queued, progress.request.is_fresh

    calls, queued, is_fresh = simulate(run)
    assert is_fresh
    assert queued == (not is_enough)
    assert calls == 1 or not is_enough
