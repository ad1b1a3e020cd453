"""Calls to Codat in a day, compared with a simple cron job that refreshes companies with stale data.

Both keep the same fleet of the sandbox's model fresh by the example policy, in simulated time. Codat Freshness is the
code that runs in Lambda. The cron job reads the data status of each company every hour, and posts `data/all` if any of
the company's data types is stale.
"""

import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random

from bench.figures import Figure, Topic, show
from bench.parts import example_policy
from codat_sandbox import model as sandbox
from codat_sandbox.backend import CodatBackend
from codat_sandbox.settings import Settings
from freshness.app.operations import Operations
from freshness.aws.metrics import Metric
from freshness.domain.companies.company import Company, Connection
from freshness.domain.promises.promise import Promise
from freshness.policy.policy import Policy
from local.settings import ROOT
from simulate.clock import START, SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation

COMPANIES = 100
"""The calls for each company are the same with 1,000, except for the list of companies, which is one page for both."""
SETTINGS = Settings(
    companies=COMPANIES, needs_relink=0, machine_offline=0, permissions_error=0, not_supported=0, sync_schedule={}
)
"""A fleet in which all data can be refreshed, which favours the cron job: it also posts for data that cannot be."""
WARM_UP = MEASURED = timedelta(days=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LOST = (0.0, 0.05, 1.0)
FEW = 25
"""How many companies there are where webhooks are lost. The calls that list companies do not count there."""
APART = HOUR
"""The time between the due times of two data types of a company."""
WEBHOOKS_AFTER = timedelta(seconds=10)


@dataclass
class PromisesKept:
    """How many promises were kept, of all that were looked at."""

    kept: int = 0
    total: int = 0

    def add(self, world: CodatBackend, policy: Policy, now: datetime) -> None:
        """Add the promises of all feeds that have been read before, as they are now."""
        for truth in world.truth(now):
            promise = _promise(policy, truth.company, truth.connection, truth.data_type)
            if promise.off or truth.latest_successful is None or truth.latest_successful.completed is None:
                continue
            self.total += 1
            self.kept += now - truth.latest_successful.completed <= promise.fresh_within

    @property
    def percent(self) -> float:
        """Return the share of promises kept, in percent."""
        return 100 * self.kept / self.total


def measure() -> list[Figure]:
    """Measure a day of Codat Freshness and of the cron job, after a day of warm-up."""
    return [
        *_figures("at the example policy", example_policy()),
        *_figures("at the same policy without confidence", _without_confidence()),
        *(_with_lost_webhooks(lost) for lost in LOST),
    ]


def _with_lost_webhooks(lost: float) -> Figure:
    """Return the calls for each refresh where a share of webhooks is lost, and data types become due one by one."""
    calls, refreshes = simulate(partial(_one_by_one, lost))
    return Figure(
        what=f"calls to Codat for each refresh, data types due one by one, {lost:.0%} of webhooks lost",
        topic=Topic.CALLS,
        value=calls / refreshes,
        unit="calls",
        against="the call that queues it; without a webhook, another one asks for its end before its promise breaks",
        floor=1.0,
    )


def _figures(condition: str, policy: Policy) -> list[Figure]:
    calls, kept = simulate(partial(_codat_freshness, policy))
    cron_calls, cron_kept = _cron_job(policy)
    return [
        Figure(
            what=f"calls to Codat a day for each company, {condition}",
            topic=Topic.CALLS,
            value=calls / COMPANIES,
            unit="calls",
            against="a cron job with dataStatus every hour, and data/all if anything is stale",
            floor=cron_calls / COMPANIES,
            at_most=0.5,
        ),
        Figure(
            what=f"promises kept, of all feeds at each full hour, {condition}",
            topic=Topic.PROMISES,
            value=kept,
            unit="%",
            against="the cron job",
            floor=cron_kept,
            at_least=1.0,
        ),
    ]


def _without_confidence() -> Policy:
    """Return the example policy without `confidence`, which has feeds refreshed before their bound."""
    policy = tomllib.loads((ROOT / "freshness.toml").read_text())
    for table in policy["data_types"].values():
        table.pop("confidence", None)
        table.pop("at_most_every", None)
    return Policy.model_validate(policy)


async def _codat_freshness(policy: Policy, loop: SimulatedLoop) -> tuple[int, float]:
    """Return the calls of Codat Freshness in a day, and the promises kept in percent."""
    simulation = Simulation(loop, SETTINGS, policy)
    run = partial(simulation.run_for, every=MINUTE, random=Random(1), deliver_within=WEBHOOKS_AFTER, skips_idle=True)
    await run(WARM_UP)
    before, kept, ends_at = simulation.calls.total(), PromisesKept(), loop.clock() + MEASURED
    while loop.clock() < ends_at:
        await run(HOUR)
        kept.add(simulation.backend, policy, loop.clock())
    return simulation.calls.total() - before, kept.percent


async def _one_by_one(lost: float, loop: SimulatedLoop) -> tuple[int, int]:
    """Return the calls of a day, without those that list companies, and the refreshes."""
    settings, policy = SETTINGS.model_copy(update={"companies": FEW}), {"default": {"fresh_within": "6 hours"}}
    simulation = Simulation(loop, settings, Policy.model_validate(policy))
    run = partial(simulation.run_for, every=MINUTE, random=Random(1), skips_idle=True, lost=lost)
    await run(HOUR)
    for turn in range(WARM_UP // APART):
        for company in list(simulation.tables.companies.scan()):
            feeds = simulation.tables.feeds.of_company(company.company_id)
            if turn < len(feeds):
                operations = Operations(services=simulation.services(Fuse()), actor=OPERATOR)
                operations.request_refreshes(company, [feeds[turn]])
        await run(APART)
    simulation.calls.clear()
    before = simulation.tallies[Metric.REFRESHES_QUEUED]
    await run(MEASURED)
    calls = sum(number for name, number in simulation.calls.items() if name != "GET ")
    return calls, simulation.tallies[Metric.REFRESHES_QUEUED] - before


def _cron_job(policy: Policy) -> tuple[int, float]:
    """Return the calls of the cron job in a day, and the promises kept in percent."""
    world, now, calls, kept = CodatBackend(SETTINGS, START), START, 0, PromisesKept()
    while now < START + WARM_UP + MEASURED:
        made = sum(1 + _refresh_if_stale(world, policy, company, now) for company in world.companies())
        now += HOUR
        world.advance(now)
        if now > START + WARM_UP:
            calls += made
            kept.add(world, policy, now)
    return calls, kept.percent


def _refresh_if_stale(world: CodatBackend, policy: Policy, company: sandbox.Company, now: datetime) -> bool:
    """Post `data/all` for a company if any of its data types is stale, and return whether one was."""
    [connection, *_] = company.connections
    for data_type, status in world.data_status(company.id, now).items():
        promise = _promise(policy, company, connection, data_type)
        synced_at = status.last_successful_sync if status else None
        if not promise.off and synced_at and now - synced_at > promise.fresh_within:
            world.queue_all(company.id, now)
            return True
    return False


def _promise(
    policy: Policy, company: sandbox.Company, sandbox_connection: sandbox.Connection, data_type: str
) -> Promise:
    connection = Connection(
        connection_id=sandbox_connection.id,
        platform=sandbox_connection.platform.name,
        source_type=sandbox_connection.platform.source_type,
        status=sandbox_connection.status,
        status_at=company.created,
    )
    return policy.promise(data_type, Company(company_id=company.id, tags=company.tags), connection)


if __name__ == "__main__":
    show("Calls to Codat", measure())
