"""Connections that lapse: only a true lapse asks a customer, and it is published with its end."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any, cast

import pytest

from codat_sandbox.model import Connection, ConnectionStatus
from codat_sandbox.platforms import QUICKBOOKS_DESKTOP, XERO, Platform
from freshness.app.reading.queries import Queries
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed_values import State
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation, reliable
from tests.builders import HOUR, MINUTE, a_policy

SETTINGS = reliable()
POLICY = a_policy("2 hours")


class Customer:
    """A simulation of a company with one connection."""

    def __init__(self, loop: SimulatedLoop, lost: float, platform: Platform = XERO, policy: Policy = POLICY) -> None:
        self.loop, self.lost = loop, lost
        self.simulation = Simulation(loop, SETTINGS, policy)
        self.id = self.simulation.backend.add_company((platform,), loop.clock()).id

    @property
    def connection(self) -> Connection:
        """Return the connection as Codat has it."""
        [connection] = self.simulation.backend.company(self.id).connections
        return connection

    @property
    def company(self) -> Company:
        """Return the company as it is known."""
        company = self.simulation.tables.companies.get(self.id)
        assert company
        return company

    @property
    def published(self) -> Counter[str]:
        """Return how often a relink was asked for, and a connection was back or done."""
        kinds = (each.split("/")[-2] for each in self.simulation.published if "/" in each)
        return Counter(kind for kind in kinds if kind in ("relink", "back", "done"))

    def refuse(self, refuses: bool) -> None:
        """Have reads refused, or no longer, although the connection stays linked."""
        self.simulation.backend.change_connection(self.id, self.connection.id, self.loop.clock(), refuses_reads=refuses)

    async def run(self, duration: timedelta) -> None:
        """Let time pass."""
        await self.simulation.run_for(duration, every=MINUTE, random=Random(0), lost=self.lost, skips_idle=True)

    def is_refused(self) -> bool:
        """Return whether a read was refused that no other has followed."""
        return any(feed.end and feed.end.state == "AuthError" for feed in self.simulation.feeds())

    def is_asked(self) -> bool:
        """Return whether the customer is asked to relink."""
        return self.company.needs_relink_at is not None

    async def run_until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until a condition holds, half a day at most."""
        for _ in range(72):
            await self.run(10 * MINUTE)
            if condition():
                return
        raise AssertionError("it never held")


@pytest.mark.parametrize("lost", [0.0, 1.0], ids=["with webhooks", "without any webhook"])
def test_refused_reads_that_heal_ask_nobody_and_each_lapse_is_published_with_its_end(lost: float) -> None:
    async def scenario(loop: SimulatedLoop) -> list[Counter[str]]:
        customer, found = Customer(loop, lost), []
        await customer.run(HOUR)
        for until in (customer.is_refused, customer.is_asked, customer.is_asked):
            customer.refuse(True)
            await customer.run_until(until)
            customer.refuse(False)
            await customer.run_until(lambda: not customer.is_refused())
            assert not customer.is_asked()
            found.append(customer.published)
        return found

    assert simulate(cast(Any, scenario)) == [{}, {"relink": 1, "back": 1}, {"relink": 2, "back": 2}]


ONCE = a_policy("2 hours", rules=[{"name": "decide once", "platforms": ["Xero"], "read_once": True}])


@pytest.mark.parametrize("lost", [0.0, 1.0], ids=["with webhooks", "without any webhook"])
@pytest.mark.parametrize(
    ("platform", "policy", "reason"),
    [
        (
            QUICKBOOKS_DESKTOP,
            POLICY,
            "it was read once: QuickBooks Desktop was disconnected within an hour, as one-time links are",
        ),
        (XERO, ONCE, "it was read once, as the policy says"),
    ],
    ids=["QuickBooks Desktop", "by the policy"],
)
def test_a_connection_for_one_read_lapses_after_it_and_nobody_is_asked(
    platform: Platform, policy: Policy, reason: str, lost: float
) -> None:
    async def scenario(loop: SimulatedLoop) -> tuple[Counter[str], set[tuple[State, str]]]:
        customer = Customer(loop, lost, platform, policy)
        customer.simulation.backend.change_connection(customer.id, customer.connection.id, loop.clock(), one_time=True)
        await customer.run(6 * HOUR)
        assert not customer.is_asked()
        assert not any("/broken/" in each for each in customer.simulation.published)
        queries = Queries(services=customer.simulation.services(Fuse()))
        views = queries.company(customer.company, loop.clock())
        return customer.published, {(view.state, view.obstacle) for view in views}

    published, shown = simulate(cast(Any, scenario))

    assert published == {"done": 1}
    assert shown == {(State.OFF, reason)}


def test_data_that_the_policy_reads_once_is_not_read_again_until_its_connection_is_linked_again() -> None:
    async def scenario(loop: SimulatedLoop) -> list[int]:
        customer = Customer(loop, 0.0, XERO, ONCE)
        simulation, ends = customer.simulation, []
        await customer.run(3 * HOUR)
        for status in (ConnectionStatus.LINKED, ConnectionStatus.DEAUTHORIZED, ConnectionStatus.LINKED):
            simulation.backend.set_connection_status(customer.id, customer.connection.id, status, loop.clock())
            await customer.run(3 * HOUR)
            ends.append(min(len(feed.history) for feed in simulation.feeds()))
        assert customer.published == {"done": 1}
        assert not any("/broken/" in each for each in simulation.published)
        return ends

    assert simulate(cast(Any, scenario)) == [1, 1, 2]
