"""Fifty callers about one company at the same moment, and functions whose clocks differ."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from codat_sandbox.model import ConnectionStatus
from codat_sandbox.platforms import XERO, DataType
from codat_sandbox.stubs import StubResponse
from freshness.app.api.links import shared_links
from freshness.app.ensure.accept import Ask, EnsureFresh
from freshness.app.ensure.problems import RelinkNeeded
from freshness.domain.feeds.freshness_request import FreshnessRequest
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation, reliable
from tests.builders import MINUTE, SECOND, a_policy

POLICY = a_policy("1 week")
SETTINGS = reliable(sync_time_min=8 * SECOND, sync_time_max=12 * SECOND, fails_later=0, latency=SECOND / 5)
CALLERS = 50
ONE_TYPE = replace(XERO, data_types=(DataType.INVOICES,))


async def simulation_of_one(loop: SimulatedLoop) -> Simulation:
    """Return a simulation of a company whose data was read once."""
    simulation = Simulation(loop, SETTINGS, POLICY)
    simulation.backend.add_company((ONE_TYPE,), loop.clock())
    await simulation.advance(MINUTE)
    await simulation.check(Fuse())
    await simulation.queue(Fuse())
    await simulation.advance(5 * MINUTE)
    simulation.deliver_all()
    return simulation


async def ask(
    simulation: Simulation, number: int, ahead: timedelta = timedelta(0), max_age: timedelta = timedelta(0)
) -> FreshnessRequest | dict[str, str]:
    """Let a caller ask for data of an age. Return the request after its answer, or the links if it is refused.

    `ahead` is how far the clock of the function is ahead that answers.
    """
    [known] = simulation.tables.companies.scan()
    services = replace(simulation.services(Fuse()), clock=lambda: simulation.clock() + ahead)
    now = services.clock()
    ensure = EnsureFresh(services=services)
    company, account = ensure.company(known.company_id)
    asked = Ask(data_types=(DataType.INVOICES,), not_before=now - max_age, deadline=now + 10 * MINUTE)
    try:
        progress = ensure.accept(company, account, asked, actor=replace(OPERATOR, who=f"caller {number}"))
    except RelinkNeeded as problem:
        return await shared_links(services, company, problem.connection_ids)
    progress = await ensure.wait(progress, 25 * SECOND, 26 * SECOND)
    while not progress.request.is_done:
        await asyncio.sleep(2)
        stored = ensure.load(company.company_id, progress.request.request_id)
        progress = await ensure.wait(ensure.progress(stored), timedelta(0), 26 * SECOND)
    return progress.request


@pytest.mark.parametrize("is_answered", [True, False], ids=["links", "no links"])
def test_of_fifty_callers_about_a_lapsed_connection_one_reads_its_link_for_all(is_answered: bool) -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = await simulation_of_one(loop)
        [company] = simulation.backend.companies()
        [connection] = company.connections
        simulation.backend.set_connection_status(company.id, connection.id, ConnectionStatus.DEAUTHORIZED, loop.clock())
        await simulation.advance(SECOND)
        simulation.deliver_all()
        await simulation.advance(MINUTE)
        if not is_answered:
            simulation.sandbox.stubs.add(StubResponse(path=f"/companies/{company.id}", status=500, times=10**6))
        simulation.calls.clear()
        asked_at = loop.clock()
        answers = await asyncio.gather(*(ask(simulation, number) for number in range(CALLERS)))
        assert loop.clock() - asked_at < 12 * SECOND
        assert simulation.calls.total() <= (1 if is_answered else 3)  # with its repeats
        assert simulation.tables.control.api_limits().stopped_before(loop.clock()) is None
        for links in answers:
            assert isinstance(links, dict)
            assert [bool(link) for link in links.values()] == ([True] if is_answered else [])

    simulate(scenario)


@pytest.mark.parametrize("ahead", [(-MINUTE,), (MINUTE,), (timedelta(0), MINUTE)], ids=["behind", "ahead", "both"])
def test_clocks_that_differ_make_at_most_two_datasets_of_what_fifty_callers_ask_for(
    ahead: tuple[timedelta, ...],
) -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = await simulation_of_one(loop)
        simulation.calls.clear()
        asked_at = loop.clock()
        calls = (ask(simulation, number, ahead[number % len(ahead)]) for number in range(CALLERS))
        answers = await asyncio.gather(*calls)
        assert all(isinstance(answer, FreshnessRequest) and answer.is_fresh for answer in answers)
        assert simulation.calls["POST data/queue/"] <= 2
        [feed] = simulation.feeds()
        assert feed.as_of
        assert feed.as_of.at >= asked_at - SECOND
        await simulation.queue(Fuse())
        assert simulation.calls["POST data/queue/"] <= 2

    simulate(scenario)


def test_of_fifty_callers_one_asks_codat_when_others_requested_the_copy() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = await simulation_of_one(loop)
        [company] = simulation.backend.companies()
        simulation.refresh_by_others(company.id, DataType.INVOICES, company.connections[0].id)
        await simulation.advance(MINUTE)
        simulation.deliver_all()
        simulation.calls.clear()
        answers = await asyncio.gather(*(ask(simulation, number, max_age=5 * MINUTE) for number in range(CALLERS)))
        assert all(isinstance(answer, FreshnessRequest) and answer.is_fresh for answer in answers)
        assert simulation.calls.total() == 1

    simulate(scenario)
