"""What follows from a policy that is changed while the system runs, in simulated time."""

from datetime import datetime, timedelta
from random import Random

import pytest

from codat_sandbox.settings import Settings
from freshness.aws.dynamodb.control import Replanned
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.feeds.schedule import with_due_at
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation
from tests.builders import MINUTE, a_policy

SETTINGS = Settings(companies=12, fails_first=0, sync_schedule={})
BEFORE = a_policy(
    "1 day",
    data_types={
        "bills": {"fresh_within": "2 hours"},
        "invoices": {"fresh_within": "1 day"},
        "payments": {"fresh_within": "1 day"},
    },
)
AFTER = a_policy(
    "1 day",
    data_types={
        "bills": {"fresh_within": "2 hours"},
        "invoices": {"fresh_within": "3 hours"},
        "payments": {"off": True},
    },
)


async def settled(loop: SimulatedLoop) -> Simulation:
    """Return a system that has kept the former policy for some hours."""
    simulation = Simulation(loop, SETTINGS, BEFORE)
    await simulation.run_for(timedelta(hours=4), every=MINUTE, random=Random(1), skips_idle=True)
    return simulation


def by_key(simulation: Simulation) -> dict[FeedKey, Feed]:
    return {feed.key: feed for feed in simulation.feeds()}


def scheduled_by(policy: Policy, simulation: Simulation, feed: Feed) -> datetime | None:
    company = simulation.tables.companies.get(feed.company_id)
    assert company
    connection = company.connections[feed.connection_id]
    return with_due_at(feed, policy.promise(feed.data_type, company, connection), connection).due_at


def is_scheduled_by(policy: Policy, simulation: Simulation, feed: Feed) -> bool:
    """Return whether a feed is due when the policy says, or by now in both cases."""
    at, now = scheduled_by(policy, simulation, feed), simulation.clock()
    return feed.due_at == at or bool(at and feed.due_at and max(at, feed.due_at) <= now)


def test_a_check_reschedules_every_feed_of_another_promise_and_writes_no_other() -> None:
    async def main(loop: SimulatedLoop) -> None:
        simulation = await settled(loop)
        simulation.policy, simulation.is_down = AFTER, True
        before, writes = by_key(simulation), simulation.writes
        await simulation.check(Fuse(), listing=False)

        after = by_key(simulation)
        changed = {key for key, feed in after.items() if feed != before[key]}
        assert {data_type for _, data_type, _ in changed} == {"invoices", "payments"}
        assert all(after[key].due_at == scheduled_by(AFTER, simulation, after[key]) for key in changed)
        assert {key for key, feed in before.items() if not is_scheduled_by(AFTER, simulation, feed)} == changed
        assert all(after[key].version == before[key].version + 1 for key in changed)
        # The lease, given back, and which policy all feeds are scheduled by.
        assert simulation.writes - writes <= len(changed) + 6

        again = simulation.writes
        await simulation.check(Fuse(), listing=False)
        assert by_key(simulation) == after
        assert simulation.writes - again < 6

    simulate(main)


def test_a_changed_policy_is_kept_within_fifteen_minutes() -> None:
    async def main(loop: SimulatedLoop) -> None:
        simulation = await settled(loop)
        simulation.policy = AFTER
        await simulation.run_for(timedelta(minutes=15), every=MINUTE, random=Random(2))

        now = simulation.clock()
        hindered = {
            (each.connection.id, str(each.data_type)) for each in simulation.backend.truth(now) if each.obstacle
        }
        fresh = [
            now - feed.succeeded_at <= timedelta(hours=3)
            for feed in simulation.feeds()
            if feed.data_type == "invoices" and feed.succeeded_at and (feed.connection_id, "invoices") not in hindered
        ]
        assert fresh
        assert all(fresh)

    simulate(main)


def test_a_tick_that_is_cut_short_is_continued_by_the_next() -> None:
    async def main(loop: SimulatedLoop) -> None:
        simulation = await settled(loop)
        expected = await settled(loop)
        for each in (simulation, expected):
            each.policy = AFTER
        await expected.check(Fuse(), listing=False)
        for calls in range(0, 200, 7):
            await simulation.check(Fuse(calls), listing=False)
            await simulation.advance(timedelta(minutes=6))
        await simulation.check(Fuse(), listing=False)

        invoices = [feed for feed in simulation.feeds() if feed.data_type == "invoices"]
        assert all(is_scheduled_by(AFTER, simulation, feed) for feed in invoices)
        assert simulation.tables.control.read(Replanned) == expected.tables.control.read(Replanned)

    simulate(main)


def test_a_data_type_that_a_policy_names_anew_is_kept_fresh() -> None:
    named = a_policy("1 day", data_types={"custom.stock": {"fresh_within": "1 day"}})

    async def main(loop: SimulatedLoop) -> None:
        simulation = await settled(loop)
        simulation.policy = named
        await simulation.check(Fuse(), listing=False)

        assert any(feed.data_type == "custom.stock" for feed in simulation.feeds())

    simulate(main)


def test_a_new_stack_checks_and_queues_nothing_until_it_is_resumed() -> None:
    async def main(loop: SimulatedLoop) -> None:
        simulation = Simulation(loop, SETTINGS, BEFORE, start_paused=True)
        await simulation.run_for(timedelta(hours=1), every=MINUTE, random=Random(1))
        assert simulation.feeds()
        assert not any(call.startswith("POST") for call in simulation.calls)
        assert simulation.tables.control.paused()

        simulation.tables.control.resume(simulation.clock())
        await simulation.run_for(timedelta(minutes=10), every=MINUTE, random=Random(1))
        assert any(call.startswith("POST") for call in simulation.calls)
        assert not simulation.tables.control.paused()

    simulate(main)


def test_a_stack_that_is_updated_is_never_paused_by_that() -> None:
    async def main(loop: SimulatedLoop) -> None:
        simulation = await settled(loop)
        simulation.start_paused = True
        await simulation.run_for(timedelta(minutes=10), every=MINUTE, random=Random(1))
        assert not simulation.tables.control.paused()

    simulate(main)


@pytest.mark.parametrize("ticks_before", [0, 1])
def test_a_new_stack_that_is_resumed_before_its_first_check_stays_so(ticks_before: int) -> None:
    async def main(loop: SimulatedLoop) -> None:
        simulation = Simulation(loop, SETTINGS, BEFORE, start_paused=True)
        for _ in range(ticks_before):
            await simulation.queue(Fuse())
        simulation.tables.control.resume(simulation.clock())
        await simulation.check(Fuse(), listing=None)
        assert not simulation.tables.control.paused()

    simulate(main)
