"""Codat's data status does not say which connection it is about, and connections appear between two lists."""

from datetime import datetime, timedelta

from codat_sandbox.model import ConnectionStatus
from codat_sandbox.platforms import PLAID
from freshness.domain.feeds.feed import FeedKey
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation, reliable
from tests.builders import MINUTE, a_policy

SETTINGS = reliable()
POLICY = a_policy("7 days")


def _succeeded(simulation: Simulation) -> dict[FeedKey, datetime | None]:
    return {feed.key: feed.succeeded_at for feed in simulation.feeds() if not feed.is_unsupported}


def test_a_read_of_a_connection_that_is_not_known_yet_does_not_freshen_the_feed_of_another() -> None:
    async def run(loop: SimulatedLoop) -> None:
        simulation = Simulation(loop, SETTINGS, POLICY)
        company = simulation.backend.add_company((PLAID,), loop.clock())
        await simulation.advance(2 * MINUTE)
        await simulation.check(Fuse())
        before = _succeeded(simulation)
        assert all(before.values())

        await simulation.advance(timedelta(days=2))
        added = simulation.backend.add_connection(company.id, PLAID, loop.clock())
        simulation.backend.set_connection_status(company.id, added.id, ConnectionStatus.LINKED, loop.clock())
        await simulation.advance(2 * MINUTE)
        await simulation.check(Fuse(), listing=False)

        assert simulation.calls["GET dataStatus"] == 2
        assert _succeeded(simulation) == before

    simulate(run)


def test_polling_without_news_makes_a_single_call() -> None:
    async def run(loop: SimulatedLoop) -> None:
        simulation = Simulation(loop, SETTINGS, POLICY)
        simulation.backend.add_company((PLAID,), loop.clock())
        await simulation.advance(2 * MINUTE)
        await simulation.check(Fuse())
        before = sum(simulation.calls.values())

        await simulation.advance(timedelta(days=2))
        await simulation.check(Fuse(), listing=False)

        assert sum(simulation.calls.values()) == before + 1

    simulate(run)
