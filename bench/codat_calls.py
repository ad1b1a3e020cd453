"""Calls of Codat in a day, against the job that one writes first: a cron job that asks, and refreshes what is stale.

Both keep a like fleet of the sandbox's model by the example policy, in simulated time. Ours is the code that runs in
Lambda. The cron job asks for each company's data status every hour, and posts `data/all` when any data type is stale.
"""

import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from bench.figures import Figure, show
from bench.parts import example_policy
from freshness.domain.company import Company, Connection
from freshness.domain.promise import Promise
from freshness.policy.policy import Policy
from local.codat_sandbox import model as sandbox
from local.codat_sandbox.backend import CodatBackend
from local.codat_sandbox.settings import Settings
from local.settings import ROOT
from tests.simulated_time import START, SimulatedLoop, simulate
from tests.simulation.simulated_loop import Fuse, Simulation

COMPANIES = 100
"""A day's calls for each company are the same for 1,000, those for the list aside, which is one page for either."""
SETTINGS = Settings(
    companies=COMPANIES, needs_relink=0, machine_offline=0, permissions_error=0, not_supported=0, sync_schedule={}
)
"""A fleet in which all goes well, which is kindest to the cron job: it posts in vain for what cannot be fresh."""
WARM_UP = MEASURED = timedelta(days=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CHECK_EVERY, LIST_EVERY = 5, 15
"""Minutes, as deployed; the tick of queueing comes every minute."""
WEBHOOKS_AFTER = timedelta(seconds=10)


@dataclass
class Kept:
    """How many feeds were as fresh as promised, each time that it was looked."""

    kept: int = 0
    looked_at: int = 0

    def look(self, world: CodatBackend, policy: Policy, now: datetime) -> None:
        """Look at every feed that was ever read, and that something is promised of."""
        for truth in world.truth(now):
            promise = _promise(policy, truth.company, truth.connection, truth.data_type)
            if promise.off or truth.latest_successful is None or truth.latest_successful.completed is None:
                continue
            self.looked_at += 1
            self.kept += now - truth.latest_successful.completed <= promise.fresh_within

    @property
    def percent(self) -> float:
        """In percent."""
        return 100 * self.kept / self.looked_at


def measure() -> list[Figure]:
    """A day of both, after a day to get going."""
    return [
        *_figures("at the example policy", example_policy()),
        *_figures("at the same policy, of bounds on age alone", _bounds_alone()),
    ]


def _figures(which: str, policy: Policy) -> list[Figure]:
    our_calls, our_promises = simulate(partial(_ours, policy))
    their_calls, their_promises = _cron_job(policy)
    return [
        Figure(
            what=f"calls of Codat a day for each company, {which}",
            value=our_calls / COMPANIES,
            unit="calls",
            against="a cron job, hourly dataStatus and data/all when anything is stale",
            floor=their_calls / COMPANIES,
            at_most=0.5,
        ),
        Figure(
            what=f"promises kept, of all feeds at each full hour, {which}",
            value=our_promises,
            unit="%",
            against="the cron job",
            floor=their_promises,
            at_least=1.0,
        ),
    ]


def _bounds_alone() -> Policy:
    """The example policy without `confidence`, which has a feed refreshed sooner than its bound: a cron job cannot."""
    policy = tomllib.loads((ROOT / "freshness.toml").read_text())
    for table in policy["data_types"].values():
        table.pop("confidence", None)
        table.pop("at_most_every", None)
    return Policy.model_validate(policy)


async def _ours(policy: Policy, loop: SimulatedLoop) -> tuple[int, float]:
    """Calls in a day, and how many promises were kept, in percent."""
    simulation = Simulation(loop, SETTINGS, policy)
    await _run(simulation, WARM_UP)
    before, kept, ends_at = simulation.calls.total(), Kept(), loop.clock() + MEASURED
    while loop.clock() < ends_at:
        await _run(simulation, HOUR)
        kept.look(simulation.world, policy, loop.clock())
    return simulation.calls.total() - before, kept.percent


async def _run(simulation: Simulation, duration: timedelta) -> None:
    """Tick as deployed, webhooks being delivered within seconds."""
    for minute in range(duration // MINUTE):
        if minute % CHECK_EVERY == 0:
            await simulation.check(Fuse(), listing=minute % LIST_EVERY == 0)
        await simulation.queue(Fuse())
        for _ in range(MINUTE // WEBHOOKS_AFTER):
            await simulation.advance(WEBHOOKS_AFTER)
            bodies, simulation.pending = simulation.pending, []
            for body in bodies:
                simulation.deliver(body, Fuse())


def _cron_job(policy: Policy) -> tuple[int, float]:
    """The same of the cron job."""
    world, now, calls, kept = CodatBackend(SETTINGS, START), START, 0, Kept()
    while now < START + WARM_UP + MEASURED:
        made = sum(1 + _refresh_if_stale(world, policy, company, now) for company in world.companies())
        now += HOUR
        world.advance(now)
        if now > START + WARM_UP:
            calls += made
            kept.look(world, policy, now)
    return calls, kept.percent


def _refresh_if_stale(world: CodatBackend, policy: Policy, company: sandbox.Company, now: datetime) -> bool:
    """Post `data/all` for a company if any of its data types is stale; whether it was."""
    [connection, *_] = company.connections
    for data_type, status in world.data_status(company.id, now).items():
        promise = _promise(policy, company, connection, data_type)
        synced_at = status.last_successful_sync if status else None
        if not promise.off and synced_at and now - synced_at > promise.fresh_within:
            world.queue_all(company.id, now)
            return True
    return False


def _promise(policy: Policy, company: sandbox.Company, connection: sandbox.Connection, data_type: str) -> Promise:
    ours = Connection(
        connection_id=connection.id,
        platform=connection.platform.name,
        source_type=connection.platform.source_type,
        status=connection.status,
        status_at=company.created,
    )
    return policy.promise(data_type, Company(company_id=company.id, tags=company.tags), ours)


if __name__ == "__main__":
    show("Calls of Codat", measure())
