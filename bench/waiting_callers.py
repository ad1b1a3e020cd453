"""Callers who wait for fresh data, in simulated time: what one costs, and when many notice the ends of their reads.

No webhook arrives, so that the ends are noticed by polls alone. Codat responds to each call after `LATENCY`.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from statistics import median
from typing import Any

from bench.figures import Figure, Topic, show, without_logs
from codat_sandbox.platforms import FETCH_ON_FIRST_LINK, XERO
from codat_sandbox.settings import Settings
from freshness.app.ensure.accept import Ask, EnsureFresh
from freshness.domain.feeds.feed import Feed
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
LATENCY = SECOND / 5
COMPANIES, TYPES = 50, 5
DATA_TYPES = tuple(sorted(FETCH_ON_FIRST_LINK & set(XERO.data_types)))[:TYPES]
PREFERRED, ANSWERED_WITHIN = 25 * SECOND, 26 * SECOND
ROUNDS = 4
"""Reads of each data type before the measured one, from which it is known how long they take."""
POLICY = Policy.model_validate({"default": {"fresh_within": "1 week"}})
SETTINGS = Settings(
    companies=0,
    sync_schedule={},
    fails_first=0,
    fails_later=0,
    not_supported=0,
    permissions_error=0,
    never_synced=0,
    latency=LATENCY,
    calls_per_minute=100_000,
)
ONE, MANY = (20 * SECOND, 20 * SECOND), (10 * SECOND, 40 * SECOND)
"""How long syncs take for one caller, and for many."""


class _Simulation(Simulation):
    """A simulation that reads no table for a check of its own."""

    def _feeds_to_queue(self, *_: Any) -> Iterator[Feed]:
        return iter(())

    @property
    def dynamodb_calls(self) -> int:
        """The calls of DynamoDB so far."""
        return self._dynamodb.calls.total()


async def _prepared(loop: SimulatedLoop, companies: int, sync_times: tuple[timedelta, timedelta]) -> _Simulation:
    """Return a simulation of companies whose data was read a few times."""
    shortest, longest = sync_times
    settings = SETTINGS.model_copy(update={"sync_time_min": shortest, "sync_time_max": longest})
    simulation = _Simulation(loop, settings, POLICY)
    few = replace(XERO, data_types=DATA_TYPES)
    for _ in range(companies):
        simulation.backend.add_company((few,), loop.clock())
    await simulation.check(Fuse())
    await simulation.queue(Fuse())
    for _ in range(ROUNDS):
        await simulation.advance(5 * MINUTE)
        bodies, simulation.pending = simulation.pending, []
        for body in bodies:
            simulation.deliver(body, Fuse())
        await simulation.check(Fuse())
        await asyncio.gather(*(_noticed_after(simulation, each.id) for each in simulation.backend.companies()))
    await simulation.advance(5 * MINUTE)
    return simulation


async def _noticed_after(simulation: _Simulation, company_id: str) -> timedelta:
    """Ask for all data types of a company as of now. Return how long after the last end the caller has the answer."""
    services = replace(simulation.services(Fuse()), waiting_callers=COMPANIES)
    ensure, now = EnsureFresh(services=services), simulation.clock()
    company, account = ensure.company(company_id)
    ask = Ask(data_types=DATA_TYPES, not_before=now, deadline=now + 10 * MINUTE)
    progress = ensure.accept(company, account, ask, actor=replace(OPERATOR, who=company_id))
    progress = await ensure.wait(progress, PREFERRED, ANSWERED_WITHIN)
    while not progress.request.is_done:
        progress = ensure.progress(ensure.load(company_id, progress.request.request_id))
        progress = await ensure.wait(progress, PREFERRED, ANSWERED_WITHIN)
    if not progress.request.is_fresh:
        raise RuntimeError(f"expected fresh data, got {progress.request}")
    history = simulation.backend.history(company_id, simulation.clock())
    return simulation.clock() - max(each.completed for each in history if each.completed)


async def _one(loop: SimulatedLoop) -> tuple[int, timedelta]:
    """Return the calls of DynamoDB that one caller makes, and how long after the last end it has the answer."""
    simulation = await _prepared(loop, 1, ONE)
    [company] = simulation.backend.companies()
    before = simulation.dynamodb_calls
    noticed = await _noticed_after(simulation, company.id)
    return simulation.dynamodb_calls - before, noticed


async def _many(loop: SimulatedLoop) -> tuple[list[timedelta], float]:
    """Return how long after the last end each of many callers has the answer, and Codat's calls for each company."""
    simulation = await _prepared(loop, COMPANIES, MANY)
    before = simulation.calls.total()
    noticed = await asyncio.gather(*(_noticed_after(simulation, each.id) for each in simulation.backend.companies()))
    return noticed, (simulation.calls.total() - before) / COMPANIES


def measure() -> list[Figure]:
    """Measure one caller, and many at the same moment."""
    with without_logs():
        calls, _ = simulate(_one)
        noticed, codat_calls = simulate(_many)
    many = f"{COMPANIES} companies x {TYPES} data types asked for at one moment"
    return [
        Figure(
            what=f"calls of DynamoDB for a caller who waits for {TYPES} data types",
            value=calls,
            unit="calls",
            against="to queue the reads, and to record that they run and how they end, takes 38; each poll takes 2",
            at_most=60,
        ),
        Figure(
            what=f"from the last end to the answer, {many}, slowest",
            topic=Topic.LATENCY,
            value=max(noticed) / SECOND,
            unit="s",
            against=f"median {median(each / SECOND for each in noticed):.1f} s, no webhooks; two responses of Codat",
            floor=2 * LATENCY / SECOND,
        ),
        Figure(
            what=f"calls of Codat for a company, {many}",
            value=codat_calls,
            unit="calls",
            against="those that queue",
            floor=TYPES,
        ),
    ]


if __name__ == "__main__":
    show("Waiting callers", measure())
