"""Failures that concern a few companies must not affect the others, in simulated time."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from codat_sandbox.model import ConnectionStatus
from codat_sandbox.platforms import PLAID, XERO, DataType
from codat_sandbox.stubs import StubResponse
from freshness.codat.http import TRIES
from freshness.domain.feeds.feed import Feed
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation, reliable
from tests.builders import HOUR, MINUTE, a_policy

TWO_TYPES = replace(XERO, data_types=(DataType.BILLS, DataType.INVOICES))
SETTINGS = reliable(fails_later=0, machine_offline=0, latency=MINUTE / 600)


def simulation_with(loop: SimulatedLoop, companies: int, fresh_within: str) -> Simulation:
    """Return a simulation of companies that are connected to Xero."""
    simulation = Simulation(loop, SETTINGS, a_policy(fresh_within))
    # Where the sync settings cannot be read, data/all is not used: each data type has a call of its own.
    forbidden = StubResponse(path="/profile/syncSettings", status=403, times=10**6)
    simulation.sandbox.stubs.add(forbidden)
    for _ in range(companies):
        simulation.backend.add_company((XERO,), loop.clock())
    return simulation


def oldest(simulation: Simulation, *, besides: str) -> timedelta:
    """Return the greatest age at Codat of any data type but one."""
    now = simulation.loop.clock()
    completed = [
        truth.latest_successful.completed
        for truth in simulation.backend.truth(now)
        if truth.data_type != besides and truth.latest_successful and truth.latest_successful.completed
    ]
    return max(now - time for time in completed)


def test_a_connection_linked_while_its_company_is_checked_gets_its_feeds_within_the_next_check() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = simulation_with(loop, 1, "1 day")
        await simulation.advance(MINUTE)
        (company,) = simulation.backend.companies()
        simulation.sandbox.stubs.add(StubResponse(path="*/dataStatus", delay=timedelta(seconds=5)))
        check = asyncio.create_task(simulation.check(Fuse()))
        await simulation.advance(timedelta(seconds=2))
        connection = simulation.backend.add_connection(company.id, PLAID, simulation.loop.clock())
        await simulation.advance(timedelta(seconds=1))
        simulation.backend.set_connection_status(
            company.id, connection.id, ConnectionStatus.LINKED, simulation.loop.clock()
        )
        await simulation.advance(timedelta(seconds=1))
        assert simulation.pending
        assert simulation.deliver_all()
        await check
        await simulation.advance(5 * MINUTE)
        await simulation.check(Fuse(), listing=False)
        assert connection.id in {feed.connection_id for feed in simulation.feeds()}

    simulate(scenario)


def test_500s_for_one_data_type_leave_the_other_data_types_fresh() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = simulation_with(loop, 40, "90 minutes")
        failing = StubResponse(method="POST", path="*/data/queue/invoices", status=500, times=10**6)
        simulation.sandbox.stubs.add(failing)
        ages = []
        for _ in range(5):
            await simulation.run_for(HOUR / 2, every=MINUTE, random=Random(0))
            ages.append(oldest(simulation, besides="invoices"))
        assert max(ages) <= 90 * MINUTE

    simulate(scenario)


@pytest.mark.parametrize("is_answered", [True, False], ids=["500", "no response"])
def test_companies_whose_data_status_fails_do_not_keep_others_from_their_check(is_answered: bool) -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = simulation_with(loop, 72, "1 day")
        companies = [company.id for company in simulation.backend.companies()]
        failing = {f"/companies/{company_id}/dataStatus" for company_id in companies[:60]}
        if is_answered:
            for path in failing:
                simulation.sandbox.stubs.add(StubResponse(path=path, status=500, times=10**6))
        else:
            simulation.unanswered = lambda request: request.url.path in failing
        for _ in range(6):
            await simulation.check(Fuse())
            await simulation.advance(5 * MINUTE)
        checked = {feed.company_id for feed in simulation.feeds()}
        assert checked >= set(companies[60:])

    simulate(scenario)


def test_most_companies_failing_for_long_does_not_count_as_that_codat_is_down() -> None:
    """If it did, their delays would end with each success of another company, and each check would try them all."""

    async def scenario(loop: SimulatedLoop) -> None:
        simulation = simulation_with(loop, 24, "1 day")
        companies = [company.id for company in simulation.backend.companies()]
        for company_id in companies[:20]:
            path = f"/companies/{company_id}/dataStatus"
            simulation.sandbox.stubs.add(StubResponse(path=path, status=500, times=10**6))
        for _ in range(24):
            await simulation.check(Fuse())
            await simulation.advance(5 * MINUTE)
        tries = [10**6 - answer.times for answer in simulation.sandbox.stubs.pending() if "dataStatus" in answer.path]
        assert len(tries) == 20
        assert max(tries) <= 10 * TRIES

    simulate(scenario)


def test_a_feed_whose_calls_fail_is_tried_again_less_and_less_often_and_at_once_after_a_success() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = simulation_with(loop, 1, "1 hour")
        await simulation.run_for(MINUTE, every=MINUTE, random=Random(0))
        failing = StubResponse(method="POST", path="*/data/queue/invoices", status=500, times=10**6)
        simulation.sandbox.stubs.add(failing)
        await simulation.run_for(12 * HOUR, every=MINUTE, random=Random(0), skips_idle=True)
        used = sum(answer.times for answer in simulation.sandbox.stubs.pending() if "invoices" in answer.path)
        assert 5 <= 10**6 - used <= 15
        simulation.sandbox.stubs.clear()
        await simulation.run_for(8 * HOUR, every=MINUTE, random=Random(0), skips_idle=True)
        invoices = next(feed for feed in simulation.feeds() if feed.data_type == "invoices")
        assert invoices.failed_calls == 0
        assert oldest(simulation, besides="") <= HOUR

    simulate(scenario)


def test_companies_about_which_calls_hang_make_no_refresh_of_the_others_late() -> None:
    """Of 24 companies, 12 hang for 90 minutes, in which every feed is due several times."""

    async def scenario(loop: SimulatedLoop) -> None:
        simulation = simulation_with(loop, 0, "20 minutes")
        for _ in range(24):
            simulation.backend.add_company((TWO_TYPES,), loop.clock())
            await simulation.run_for(MINUTE, every=MINUTE, random=Random(0), checks=1)
        hanging = {company.id for company in simulation.backend.companies()[::2]}
        simulation.unanswered = lambda request: (request.url.path + "/").split("/")[2] in hanging
        for _ in range(90):
            await simulation.run_for(MINUTE, every=MINUTE, random=Random(0))
            assert not {feed.company_id for feed in late_feeds(simulation)} - hanging
        simulation.unanswered = lambda _: False
        await simulation.run_for(2 * MINUTE, every=MINUTE, random=Random(0))
        assert late_feeds(simulation) == []

    simulate(scenario)


@pytest.mark.parametrize(("companies", "is_answered"), [(5, False), (20, True)], ids=["5-no response", "20-500"])
def test_after_an_outage_every_promise_is_kept_again_within_two_ticks(companies: int, is_answered: bool) -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = simulation_with(loop, 0, "20 minutes")
        for _ in range(companies):
            simulation.backend.add_company((TWO_TYPES,), loop.clock())
            await simulation.advance(MINUTE / 4)
        await simulation.run_for(HOUR, every=MINUTE, random=Random(0))
        assert late_feeds(simulation) == []
        if is_answered:
            simulation.sandbox.stubs.add(StubResponse(path="*", status=500, times=10**6))
        else:
            simulation.is_down = True
        simulation.calls.clear()
        await simulation.run_for(2 * HOUR, every=MINUTE, random=Random(0))
        assert len(late_feeds(simulation)) == len(simulation.feeds())
        assert simulation.calls.total() < 12 * 120
        simulation.sandbox.stubs.clear()
        simulation.is_down = False
        await simulation.run_for(2 * MINUTE, every=MINUTE, random=Random(0))
        assert late_feeds(simulation) == []

    simulate(scenario)


def late_feeds(simulation: Simulation) -> list[Feed]:
    """Return the feeds whose copy is older than the 20 minutes that are promised."""
    now = simulation.clock()
    return [feed for feed in simulation.feeds() if not feed.succeeded_at or now - feed.succeeded_at > 20 * MINUTE]
