"""POSTs that take effect, but whose responses are lost: sent again, also after a crash, without a second effect."""

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise
from random import Random

import httpx

from freshness.app.operations import Operations
from freshness.policy.policy import Policy
from local.codat_sandbox.model import Dataset, RequestedBy
from local.codat_sandbox.settings import Settings
from local.codat_sandbox.stubs import StubResponse
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import LEASE, Fuse, Simulation

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
PROMISE = 4 * HOUR
LOST = 10_000
SETTINGS = Settings(
    companies=60,
    fails_first=0,
    not_supported=0,
    permissions_error=0,
    needs_relink=0,
    machine_offline=0,
    never_synced=1,
    sync_schedule={},
)


def test_10000_posts_whose_responses_are_lost_take_effect_once_each_and_none_is_forgotten() -> None:
    """Half of the responses are lost, half of the webhooks are, and two ticks in five are killed after any call."""
    random, lost = Random(5), Counter[str]()

    def is_lost(request: httpx.Request) -> bool:
        is_lost = request.method == "POST" and random.random() < 0.6
        lost["all"] += is_lost
        return is_lost

    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = Simulation(loop, SETTINGS, Policy.model_validate({"default": {"fresh_within": "4 hours"}}))
        # Without the sync settings, each data type has a call of its own.
        simulation.sandbox.stubs.add(StubResponse(path="/profile/syncSettings", status=403, times=10**6))
        simulation.is_lost = is_lost
        ticks = 0
        while lost["all"] < LOST:
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
    assert shortest_pause(by_feed) > PROMISE / 2
    refreshes = {each for each in simulation.published if "/broken/" not in each and "/kept/" not in each}
    assert len(refreshes) == sum(len(datasets) for datasets in by_feed.values())
    assert simulation.tallies["Crashes"] > 20


INVOICES = Policy.model_validate(
    {"default": {"fresh_within": "4 hours"}, "data_types": {"invoices": {"fresh_within": "4 hours"}}}
)
ONE_COMPANY = SETTINGS.model_copy(update={"companies": 1})


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
        operations = Operations(recorder=simulation.recorder(), clock=simulation.clock)
        for company in list(simulation.tables.companies.scan()):
            operations.request_refreshes(company, simulation.tables.feeds.of_company(company.company_id))
        await simulation.run_for(20 * MINUTE, every=MINUTE, random=Random(1))
        return simulation

    simulation = simulate(scenario)

    (killed,) = posts_before_kill(simulation)
    of_feed = datasets_by_feed(simulation)[killed.company_id, killed.data_type, killed.connection_id]
    assert [dataset.requested for dataset in of_feed if dataset.requested > killed.requested]
    assert killed.id in simulation.published


async def with_killed_run(loop: SimulatedLoop) -> Simulation:
    """Return a simulation in which a run was killed right after a POST that took effect, and its webhook was lost."""
    simulation = Simulation(loop, ONE_COMPANY, INVOICES)
    await simulation.check(Fuse())
    for calls in range(200):
        await simulation.queue(Fuse(calls))
        if datasets_by_feed(simulation):
            break
        await simulation.advance(LEASE + MINUTE)
    await simulation.advance(LEASE + MINUTE)
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


def datasets_by_feed(simulation: Simulation) -> dict[tuple[str, str, str], list[Dataset]]:
    """Return the datasets that POSTs queued at the sandbox, by company, data type and connection."""
    now, found = simulation.loop.clock(), defaultdict(list)
    for company in simulation.backend.companies():
        for dataset in simulation.backend.history(company.id, now):
            if dataset.requested_by is RequestedBy.API:
                found[company.id, dataset.data_type, dataset.connection_id].append(dataset)
    return found


def shortest_pause(by_feed: dict[tuple[str, str, str], list[Dataset]]) -> timedelta:
    """Return the shortest time between two datasets of one feed: a second effect comes soon after the first."""
    return min(
        later.requested - earlier.requested for datasets in by_feed.values() for earlier, later in pairwise(datasets)
    )
