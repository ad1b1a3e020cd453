"""POSTs that take effect, but whose responses are lost: sent again, also after a crash, without a second effect."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import httpx

from codat_sandbox.model import Dataset, RequestedBy
from codat_sandbox.stubs import StubResponse
from freshness.app.operations import Operations
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, TIMEOUT, Fuse, Simulation, reliable
from tests.builders import HOUR, MINUTE, a_policy

PROMISE = 4 * HOUR
SETTINGS = reliable(companies=60, needs_relink=0, machine_offline=0, never_synced=1)
INVOICES = a_policy("4 hours", data_types={"invoices": {"fresh_within": "4 hours"}})
ONE_COMPANY = SETTINGS.model_copy(update={"companies": 1})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of POSTs whose responses were lost.

    `doubled` is how many datasets were queued too soon after the previous one of their feed. `mispublished` is the
    difference between the number of datasets and the number of ids under which ends were published.
    """

    posts: int
    doubled: int
    mispublished: int
    crashes: int


def lose_responses(posts: int) -> Outcome:
    """Lose the responses to this many POSTs, and return what became of them."""
    random, lost = Random(5), Counter[str]()

    def is_lost(request: httpx.Request) -> bool:
        is_lost = request.method == "POST" and random.random() < 0.6
        lost["POST"] += is_lost
        return is_lost

    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = Simulation(loop, SETTINGS, a_policy("4 hours"))
        # Without the sync settings, each data type has a call of its own.
        simulation.sandbox.stubs.add(StubResponse(path="/profile/syncSettings", status=403, times=10**6))
        simulation.is_lost = is_lost
        ticks = 0
        while lost["POST"] < posts:
            if ticks % 3 == 0:
                await simulation.check(Fuse(), listing=ticks % 15 == 0)
            await simulation.queue(Fuse(random.randint(0, 60) if random.random() < 0.4 else None))
            await simulation.advance(5 * MINUTE)
            bodies, simulation.pending = simulation.pending, []
            for body in bodies:
                if random.random() < 0.5:
                    simulation.deliver(body, Fuse())
            ticks += 1
        simulation.is_lost = lambda _: False
        await simulation.run_for(HOUR, every=5 * MINUTE, random=random)
        return simulation

    simulation = simulate(scenario)
    by_feed = datasets_by_feed(simulation)
    queued = sum(len(datasets) for datasets in by_feed.values())
    published = sum(1 for each in simulation.published if "/broken/" not in each and "/kept/" not in each)
    return Outcome(
        posts=lost["POST"],
        doubled=sum(
            later.requested - earlier.requested <= PROMISE / 2
            for datasets in by_feed.values()
            for earlier, later in pairwise(datasets)
        ),
        mispublished=abs(queued - published),
        crashes=simulation.tallies["Crashes"],
    )


def datasets_by_feed(simulation: Simulation) -> dict[tuple[str, str, str], list[Dataset]]:
    """Return the datasets that POSTs queued at the sandbox, by company, data type and connection."""
    now, found = simulation.loop.clock(), defaultdict(list)
    for company in simulation.backend.companies():
        for dataset in simulation.backend.history(company.id, now):
            if dataset.requested_by is RequestedBy.API:
                found[company.id, dataset.data_type, dataset.connection_id].append(dataset)
    return found


def test_posts_whose_responses_are_lost_take_effect_once_each_and_none_is_forgotten() -> None:
    """Three in five responses are lost, half of the webhooks, and two ticks in five are killed after any call."""
    outcome = lose_responses(800)

    assert outcome.posts >= 800
    assert outcome.doubled == 0
    assert outcome.mispublished == 0
    assert outcome.crashes > 20


def test_what_a_killed_run_queued_is_published_when_codat_remembers_the_call_no_more() -> None:
    """The run is killed after its first POST, the webhook is lost, and no tick runs for two hours."""

    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = await with_killed_run(loop)
        await simulation.advance(2 * HOUR)
        await simulation.queue(Fuse())
        return simulation

    simulation = simulate(scenario)

    (killed,) = posts_before_kill(simulation)
    assert killed.id in simulation.published


def test_what_a_killed_run_queued_does_not_count_as_a_refresh_that_was_requested_later() -> None:
    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = await with_killed_run(loop)
        operations = Operations(services=simulation.services(Fuse()), actor=OPERATOR)
        for company in list(simulation.tables.companies.scan()):
            operations.request_refreshes(company, simulation.tables.feeds.of_company(company.company_id))
        await simulation.run_for(20 * MINUTE, every=MINUTE, random=Random(1))
        return simulation

    simulation = simulate(scenario)

    (killed,) = posts_before_kill(simulation)
    of_feed = datasets_by_feed(simulation)[killed.company_id, killed.data_type, killed.connection_id]
    assert [dataset.requested for dataset in of_feed if dataset.requested > killed.requested]
    assert killed.id in simulation.published


def test_what_operators_requested_is_read_once_although_the_run_that_queued_it_was_killed() -> None:
    """They request it while the run is at work, and the webhooks arrive before the next run."""

    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = Simulation(loop, ONE_COMPANY, INVOICES)
        await simulation.check(Fuse())
        await simulation.run_for(5 * MINUTE, every=MINUTE, random=Random(1))
        known = datasets_by_feed(simulation)
        [company] = simulation.tables.companies.scan()
        for calls in range(200):
            simulation.tables.control.acquire("queue_refreshes", "killed", simulation.clock(), simulation.clock())
            await simulation.advance(MINUTE)
            operations = Operations(services=simulation.services(Fuse()), actor=OPERATOR)
            operations.request_refreshes(company, simulation.tables.feeds.of_company(company.company_id))
            await simulation.queue(Fuse(calls))
            if datasets_by_feed(simulation) != known:
                break
            await simulation.advance(TIMEOUT + MINUTE)
        await simulation.run_for(TIMEOUT + 20 * MINUTE, every=MINUTE, random=Random(1))
        return simulation

    simulation = simulate(scenario)

    assert {len(datasets) for datasets in datasets_by_feed(simulation).values()} == {2}


async def with_killed_run(loop: SimulatedLoop) -> Simulation:
    """Return a simulation in which a run was killed right after a POST that took effect, and its webhook was lost."""
    simulation = Simulation(loop, ONE_COMPANY, INVOICES)
    await simulation.check(Fuse())
    for calls in range(200):
        await simulation.queue(Fuse(calls))
        if datasets_by_feed(simulation):
            break
        await simulation.advance(TIMEOUT + MINUTE)
    await simulation.advance(TIMEOUT + MINUTE)
    simulation.pending.clear()
    return simulation


def posts_before_kill(simulation: Simulation) -> list[Dataset]:
    first = min(dataset.requested for datasets in datasets_by_feed(simulation).values() for dataset in datasets)
    return [
        dataset
        for datasets in datasets_by_feed(simulation).values()
        for dataset in datasets
        if dataset.requested <= first + MINUTE
    ]


def test_a_dataset_whose_webhook_overtakes_the_response_is_recorded_and_not_read_again() -> None:
    """Each response is lost for a moment, in which the read ends and its webhook is applied."""
    seen = Counter[str]()

    def is_lost(request: httpx.Request) -> bool:
        seen[request.url.path] += request.method == "POST"
        return request.method == "POST" and seen[request.url.path] == 1

    async def scenario(loop: SimulatedLoop) -> Simulation:
        quick = ONE_COMPANY.model_copy(update={"sync_time_min": MINUTE / 120, "sync_time_max": MINUTE / 120})
        simulation = Simulation(loop, quick, INVOICES)
        await simulation.check(Fuse())
        simulation.is_lost = is_lost
        tick = asyncio.create_task(simulation.queue(Fuse()))
        while not tick.done():
            await simulation.advance(MINUTE / 240)
            simulation.deliver_all()
        await simulation.run_for(10 * MINUTE, every=MINUTE, random=Random(1))
        return simulation

    simulation = simulate(scenario)

    [company] = simulation.tables.companies.scan()
    recorded = {dataset.dataset_id for dataset in simulation.tables.datasets.of_company(company.company_id)}
    queued = datasets_by_feed(simulation)
    assert queued
    assert {dataset.id for datasets in queued.values() for dataset in datasets} == recorded
    assert {len(datasets) for datasets in queued.values()} == {1}
    assert all(feed.as_of and not feed.as_of.is_estimated for feed in simulation.feeds() if feed.last_dataset)
