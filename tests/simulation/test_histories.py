"""Random histories of a modelled Codat and the tables, with everything in them that can go wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.history import LOST_AND_FOUND, SETTINGS, SYNC_TAKES, TOLERANCE
from codat_sandbox.errors import SandboxError
from codat_sandbox.model import ConnectionStatus, DatasetStatus, Truth
from codat_sandbox.platforms import MYOB, PLAID, QUICKBOOKS_DESKTOP, DataType
from freshness.domain.datasets.dataset import has_ended
from freshness.domain.datasets.sync_history import LONGEST_SYNC
from freshness.domain.feeds.feed import Feed
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import TIMEOUT, Fuse, Simulation

FLEET = ((MYOB,), (PLAID, PLAID), (QUICKBOOKS_DESKTOP,))
OFTEN = {DataType.INVOICES: timedelta(hours=2), DataType.BANKING_TRANSACTIONS: timedelta(hours=1)}
FRESH_WITHIN: dict[str, timedelta] = {
    data_type: OFTEN.get(data_type, timedelta(days=1))
    for platforms in FLEET
    for platform in platforms
    for data_type in platform.data_types
}
POLICY = Policy.model_validate(
    {
        "default": {"fresh_within": "1 day"},
        "data_types": {
            str(data_type): {"fresh_within": f"{duration // timedelta(hours=1)} hours"}
            for data_type, duration in FRESH_WITHIN.items()
        },
    }
)
EVERY = timedelta(minutes=5)
"""The time between ticks at the end of a history; in AWS they are a minute apart, which promises allow for."""

calls_made = st.none() | st.integers(0, 60)
"""After how many calls a function is killed, if at all."""
steps = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([1, 20, 60, 300, 3600, 4 * 3600])),
    st.tuples(st.just("ticks"), calls_made, calls_made, st.booleans()),
    st.tuples(st.just("webhooks"), st.sampled_from(["all", "lost", "doubled", "reordered"]), calls_made),
    st.tuples(st.just("outage"), st.booleans()),
    st.tuples(st.just("others"), st.integers(0, 99)),
    st.tuples(st.just("connection"), st.integers(0, 9), st.sampled_from(LOST_AND_FOUND)),
    st.tuples(st.just("machine"), st.booleans()),
    st.tuples(st.just("delete"), st.integers(0, 2)),
)


@dataclass
class History:
    """A simulation, and what may happen to it."""

    simulation: Simulation
    random: Random

    async def happen(self, kind: str, *how: object) -> None:
        """Let one thing happen."""
        step: Callable[..., Awaitable[None]] = getattr(self, f"_{kind}")
        await step(*how)
        self.simulation.collect()

    async def _time(self, seconds: int) -> None:
        await self.simulation.advance(timedelta(seconds=seconds))

    async def _ticks(self, check_dies_after: int | None, queue_dies_after: int | None, together: bool) -> None:
        check, queue = self.simulation.check, self.simulation.queue
        if together:
            await asyncio.gather(check(Fuse(check_dies_after)), queue(Fuse(queue_dies_after)))
        else:
            await check(Fuse(check_dies_after))
            await queue(Fuse(queue_dies_after))

    async def _webhooks(self, fate: str, dies_after: int | None) -> None:
        bodies, self.simulation.pending = self.simulation.pending, []
        if fate == "lost":
            return
        if fate == "doubled":
            bodies = bodies + bodies
        if fate == "reordered":
            self.random.shuffle(bodies)
        for body in bodies:
            if not self.simulation.deliver(body, Fuse(dies_after)):
                self.simulation.pending.append(body)

    async def _outage(self, is_down: bool) -> None:
        self.simulation.is_down = is_down

    async def _others(self, number: int) -> None:
        truths = list(self.simulation.backend.truth(self.simulation.loop.clock()))
        if truths:
            truth = truths[number % len(truths)]
            try:
                self.simulation.refresh_by_others(truth.company.id, truth.data_type, truth.connection.id)
            except SandboxError:
                return

    async def _connection(self, number: int, status: ConnectionStatus) -> None:
        world, now = self.simulation.backend, self.simulation.loop.clock()
        connections = [(company.id, c.id) for company in world.companies() for c in company.connections]
        if connections:
            world.set_connection_status(*connections[number % len(connections)], status, now)

    async def _machine(self, online: bool) -> None:
        world, now = self.simulation.backend, self.simulation.loop.clock()
        for company in world.companies():
            for connection in company.connections:
                if connection.platform.on_premise:
                    world.set_machine_online(company.id, connection.id, online, now)

    async def _delete(self, number: int) -> None:
        companies = self.simulation.backend.companies()
        if len(companies) > 1:
            self.simulation.backend.delete_company(companies[number % len(companies)].id, self.simulation.loop.clock())

    async def heal(self) -> None:
        """End every trouble but those that only a person can end; what is pending still comes."""
        simulation, now = self.simulation, self.simulation.loop.clock()
        simulation.is_down = False
        await self._machine(True)
        simulation.backend.change_settings(SETTINGS.model_copy(update={"fails_first": 0, "fails_later": 0}), now)
        # Whatever killed a tick, the next may run once the lease of that one is over.
        await simulation.advance(TIMEOUT + timedelta(seconds=1))

    def truths(self) -> dict[tuple[str, str, str], Truth]:
        """What is so at Codat, by company, data type and connection."""
        return {
            (truth.company.id, str(truth.data_type), truth.connection.id): truth
            for truth in self.simulation.backend.truth(self.simulation.loop.clock())
        }

    def unkept(self, late_by: timedelta = timedelta(0)) -> list[Truth]:
        """What could be as fresh as promised at Codat, or nearly so, and is not."""
        now = self.simulation.loop.clock()
        return [
            truth
            for truth in self.truths().values()
            if truth.can_become_fresh
            and not (
                truth.latest_successful
                and truth.latest_successful.completed
                and now - truth.latest_successful.completed <= FRESH_WITHIN[truth.data_type] + late_by
            )
        ]

    def require_nothing_false(self) -> None:
        """Fail if the tables say of a feed that it is fresher than it is, or a refresh was asked for twice."""
        truths = self.truths()
        for feed in self.simulation.feeds():
            truth = truths.get((feed.company_id, feed.data_type, feed.connection_id))
            if truth and feed.succeeded_at:
                successful = truth.latest_successful
                assert successful and successful.completed, feed
                assert feed.succeeded_at <= successful.completed + TOLERANCE, feed
        assert not self.simulation.queued_again

    def require_nothing_forgotten(self) -> None:
        """Fail if the tables still wait for a dataset that must have ended long ago, or wait for no end of it."""
        simulation, long_ago = self.simulation, self.simulation.clock() - 3 * LONGEST_SYNC
        feeds = {(feed.company_id, feed.data_type, feed.connection_id): feed for feed in simulation.feeds()}
        for feed in feeds.values():
            assert not feed.in_flight or feed.in_flight.at > long_ago, feed
        in_flight = {feed.in_flight.dataset_id for feed in feeds.values() if feed.in_flight}
        for dataset in simulation.tables.datasets.scan():
            assert dataset.dataset_id in in_flight or has_ended(dataset.state), dataset


def _explained(simulation: Simulation, keys: set[tuple[str, str, str]]) -> str:
    """What the tables and Codat say of feeds."""
    feeds = {(feed.company_id, feed.data_type, feed.connection_id): feed for feed in simulation.feeds()}
    truths = {
        (truth.company.id, str(truth.data_type), truth.connection.id): truth
        for truth in simulation.backend.truth(simulation.loop.clock())
    }
    lines = [f"{feeds.get(key)}\n  {truths[key].latest}\n  {truths[key].latest_successful}" for key in sorted(keys)]
    return f"{simulation.clock()}\n" + "\n".join(lines)


def _key(feed: Feed) -> tuple[str, str, str]:
    return feed.company_id, feed.data_type, feed.connection_id


async def _run(loop: SimulatedLoop, seed: int, skew: timedelta, happened: list[tuple[object, ...]]) -> None:
    simulation = Simulation(loop, SETTINGS.model_copy(update={"seed": seed}), POLICY, skew=skew)
    for platforms in FLEET:
        simulation.backend.add_company(platforms, loop.clock())
    history = History(simulation, Random(seed))
    for kind, *how in happened:
        await history.happen(str(kind), *how)
        history.require_nothing_false()
    await history.heal()
    waiting = {
        _key(feed)
        for feed in simulation.feeds()
        if feed.in_flight or feed.is_failing or (feed.end and feed.end.state == DatasetStatus.AUTH_ERROR)
    }
    for _ in range(2):
        await simulation.check(Fuse())
        await simulation.queue(Fuse())
        # By a clock that is behind Codat's, it is too early for another try for as long as it is behind.
        waiting |= {
            _key(feed)
            for feed in simulation.feeds()
            if feed.is_failing and feed.due_at and feed.due_at > simulation.clock()
        }
        await simulation.advance(SYNC_TAKES + timedelta(seconds=10))
    unkept = {(truth.company.id, str(truth.data_type), truth.connection.id) for truth in history.unkept()}
    assert not unkept - waiting, _explained(simulation, unkept - waiting)
    # What failed before is tried again after a while that has grown with each failure.
    await simulation.run_for(timedelta(hours=9), every=EVERY, checks=1, random=Random(0), lost=1)
    assert not history.unkept(late_by=EVERY), _explained(
        simulation, {(truth.company.id, str(truth.data_type), truth.connection.id) for truth in history.unkept()}
    )
    history.require_nothing_false()
    history.require_nothing_forgotten()


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(minutes=3), timedelta(minutes=-3)], ids=str)
@settings(deadline=None, max_examples=8, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), happened=st.lists(steps, max_size=25))
def test_nothing_is_asked_for_twice_nothing_forgotten_and_every_promise_kept_again(
    skew: timedelta, seed: int, happened: list[tuple[object, ...]]
) -> None:
    simulate(lambda loop: _run(loop, seed, skew, happened))
