"""Callers who wait for fresh data, in simulated time: what one costs, and when many notice the ends of their reads.

No webhook arrives, so that the ends are noticed by polls alone. Codat responds to each call after `LATENCY`. A user's
own loop queues a read at Codat, and polls it until it has ended.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from random import Random
from statistics import mean, median
from typing import Any

from bench.figures import Figure, Topic, show, without_logs
from codat_sandbox.model import Company
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
PLACES = 200
"""`waiting_callers`: so many that each caller may wait almost as long as it prefers."""
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
ALONE, SHORT = 40, (4 * SECOND, 16 * SECOND)
"""How many companies are each asked for one data type, half of them by a user's own loop, and how long syncs take."""
USERS_POLL = 2 * SECOND
CALLERS, REQUESTS, WITHIN = 20, 3, 30 * SECOND
"""How many callers make how many requests each for the same company, within which time."""


class _Simulation(Simulation):
    """A simulation that reads no table for a check of its own."""

    def _feeds_to_queue(self, *_: Any) -> Iterator[Feed]:
        return iter(())

    @property
    def dynamodb_calls(self) -> int:
        """The calls of DynamoDB so far."""
        return self._dynamodb.calls.total()


async def _prepared(
    loop: SimulatedLoop, companies: int, sync_times: tuple[timedelta, timedelta], rounds: int = ROUNDS
) -> _Simulation:
    """Return a simulation of companies whose data was read a few times."""
    shortest, longest = sync_times
    settings = SETTINGS.model_copy(update={"sync_time_min": shortest, "sync_time_max": longest})
    simulation = _Simulation(loop, settings, POLICY)
    few = replace(XERO, data_types=DATA_TYPES)
    for _ in range(companies):
        simulation.backend.add_company((few,), loop.clock())
    await simulation.check(Fuse())
    await simulation.queue(Fuse())
    for _ in range(rounds):
        await simulation.advance(5 * MINUTE)
        bodies, simulation.pending = simulation.pending, []
        for body in bodies:
            simulation.deliver(body, Fuse())
        await simulation.check(Fuse())
        await asyncio.gather(*(_noticed_after(simulation, each.id) for each in simulation.backend.companies()))
    await simulation.advance(5 * MINUTE)
    return simulation


async def _noticed_after(
    simulation: _Simulation, company_id: str, data_types: tuple[str, ...] = DATA_TYPES, caller: str = ""
) -> timedelta:
    """Ask for data types of a company as of now. Return how long after the last end the caller has the answer."""
    services = replace(simulation.services(Fuse()), waiting_callers=PLACES)
    ensure, now = EnsureFresh(services=services), simulation.clock()
    company, account = ensure.company(company_id)
    ask = Ask(data_types=data_types, not_before=now, deadline=now + 10 * MINUTE)
    progress = ensure.accept(company, account, ask, actor=replace(OPERATOR, who=caller or company_id))
    progress = await ensure.wait(progress, PREFERRED, ANSWERED_WITHIN)
    while not progress.request.is_done:
        progress = ensure.progress(ensure.load(company_id, progress.request.request_id))
        progress = await ensure.wait(progress, PREFERRED, ANSWERED_WITHIN)
    if not progress.request.is_fresh:
        raise RuntimeError(f"expected fresh data, got {progress.request}")
    history = simulation.backend.history(company_id, simulation.clock())
    return simulation.clock() - max(each.completed for each in history if each.completed)


async def _noticed_by_own_loop(simulation: _Simulation, company: Company) -> tuple[timedelta, int]:
    """Queue a read and poll it. Return how long after its end that is known, and the calls."""
    [connection] = company.connections
    dataset, calls = simulation.refresh_by_others(company.id, DATA_TYPES[0], connection.id), 1
    await asyncio.sleep(LATENCY / SECOND)
    while dataset.completed is None or dataset.is_running:
        await asyncio.sleep((USERS_POLL + LATENCY) / SECOND)
        history, calls = simulation.backend.history(company.id, simulation.clock()), calls + 1
        dataset = next(each for each in history if each.id == dataset.id)
    return simulation.clock() - dataset.completed, calls


async def _one(loop: SimulatedLoop) -> tuple[int, timedelta]:
    """Return the calls of DynamoDB that one caller makes, and how long after the last end it has the answer."""
    simulation = await _prepared(loop, 1, ONE)
    [company] = simulation.backend.companies()
    before = simulation.dynamodb_calls
    noticed = await _noticed_after(simulation, company.id)
    return simulation.dynamodb_calls - before, noticed


async def _many(loop: SimulatedLoop) -> tuple[list[float], float]:
    """Return after how many seconds each of many callers knows the last end, and Codat's calls for each company."""
    simulation = await _prepared(loop, COMPANIES, MANY)
    before = simulation.calls.total()
    noticed = await asyncio.gather(*(_noticed_after(simulation, each.id) for each in simulation.backend.companies()))
    return [each / SECOND for each in noticed], (simulation.calls.total() - before) / COMPANIES


async def _alone(rounds: int, loop: SimulatedLoop) -> list[tuple[float, float]]:
    """Return for callers, and for users' own loops: the mean time from the end of a read to its answer, and calls."""
    simulation = await _prepared(loop, ALONE, SHORT, rounds)
    companies = simulation.backend.companies()
    asked, users = companies[: ALONE // 2], companies[ALONE // 2 :]
    before = simulation.calls.total()
    noticed = await asyncio.gather(*(_noticed_after(simulation, each.id, DATA_TYPES[:1]) for each in asked))
    calls = (simulation.calls.total() - before) / len(asked)
    of_users = await asyncio.gather(*(_noticed_by_own_loop(simulation, each) for each in users))
    return [
        (mean(each / SECOND for each in noticed), calls),
        (mean(each / SECOND for each, _ in of_users), mean(calls for _, calls in of_users)),
    ]


async def _at_once(loop: SimulatedLoop) -> int:
    """Return the queueing calls for one company that many callers ask about."""
    simulation, random = await _prepared(loop, 1, (2 * WITHIN, 2 * WITHIN)), Random(1)
    [company] = simulation.backend.companies()
    simulation.calls.clear()

    async def ask(caller: int) -> None:
        await asyncio.sleep(WITHIN / SECOND * random.random())
        await _noticed_after(simulation, company.id, caller=f"caller {caller}")

    await asyncio.gather(*(ask(number % CALLERS) for number in range(CALLERS * REQUESTS)))
    return sum(number for call, number in simulation.calls.items() if call.startswith("POST"))


def measure() -> list[Figure]:
    """Measure one caller, many at the same moment, and callers beside users' own loops."""
    with without_logs():
        calls, _ = simulate(_one)
        noticed, codat_calls = simulate(_many)
        queued = simulate(_at_once)
        figures = [
            *_beside_own_loop("without a measured read", simulate(partial(_alone, 0))),
            *_beside_own_loop("with measured reads", simulate(partial(_alone, ROUNDS))),
        ]
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
            value=max(noticed),
            unit="s",
            against=f"median {median(noticed):.1f} s, {PLACES} places to wait; two responses of Codat",
            floor=2 * LATENCY / SECOND,
        ),
        Figure(
            what=f"calls of Codat for a company, {many}",
            value=codat_calls,
            unit="calls",
            against="those that queue",
            floor=TYPES,
        ),
        Figure(
            what=f"queueing calls for each feed, of {CALLERS * REQUESTS} requests of {CALLERS} callers",
            value=queued / TYPES,
            unit="calls",
            against=f"all made within {WITHIN / SECOND:.0f} s, while a read takes {2 * WITHIN / SECOND:.0f} s",
            at_most=2,
        ),
        *figures,
    ]


def _beside_own_loop(feed: str, means: Iterable[tuple[float, float]]) -> list[Figure]:
    (noticed, calls), (noticed_by_users, calls_of_users) = means
    return [
        Figure(
            what=f"from the end of a read to the answer, of a feed {feed}, mean of {ALONE // 2}",
            topic=Topic.LATENCY,
            value=noticed,
            unit="s",
            against=f"a user's own loop that polls every {USERS_POLL / SECOND:g} s",
            floor=noticed_by_users,
        ),
        Figure(
            what=f"calls of Codat for a caller who waits for a feed {feed}",
            topic=Topic.CALLS,
            value=calls,
            unit="calls",
            against="a user's own loop",
            floor=calls_of_users,
            at_most=1.3,
        ),
    ]


if __name__ == "__main__":
    show("Waiting callers", measure())
