"""POSTs that take effect, but whose responses are lost: how many have a second effect, and how many are lost.

The loop runs in simulated time, with the code that runs in Lambda. Three in five responses to POSTs are lost, half of
the webhooks are, and two ticks in five are killed after any call.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from random import Random

import httpx

from bench.figures import Figure, show, without_logs
from codat_sandbox.model import Dataset, RequestedBy
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation

POSTS = 4_000
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
PROMISE = 4 * HOUR
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
    random, lost = Random(5), Counter[str]()  # noqa: S311 - chances, not secrets

    def is_lost(request: httpx.Request) -> bool:
        is_lost = request.method == "POST" and random.random() < 0.6
        lost["POST"] += is_lost
        return is_lost

    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = Simulation(loop, SETTINGS, Policy.model_validate({"default": {"fresh_within": "4 hours"}}))
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


def measure() -> list[Figure]:
    """Measure what became of 4,000 POSTs."""
    with without_logs():
        outcome = lose_responses(POSTS)
    what = f"of {outcome.posts:,} POSTs whose responses were lost after taking effect, half of the webhooks too"
    return [
        Figure(
            what=f"{kind} {what}",
            value=value,
            unit="POSTs",
            against=f"ticks killed meanwhile {outcome.crashes:,}",
            at_most=0,
        )
        for kind, value in (("second effects", outcome.doubled), ("lost ends", outcome.mispublished))
    ]


if __name__ == "__main__":
    show("Lost responses", measure())
