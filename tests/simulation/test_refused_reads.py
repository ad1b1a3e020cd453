"""Connections whose reads are refused: what heals by itself asks nobody, and each true lapse is published."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any, cast

import pytest

from freshness.domain.company import Company
from freshness.policy.policy import Policy
from local.codat_sandbox.model import Connection
from local.codat_sandbox.platforms import XERO
from local.codat_sandbox.settings import Settings
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Simulation

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SETTINGS = Settings(companies=0, fails_first=0, not_supported=0, permissions_error=0, sync_schedule={})
POLICY = Policy.model_validate({"default": {"fresh_within": "2 hours"}})


class Customer:
    """A simulation of a company with Xero."""

    def __init__(self, loop: SimulatedLoop, lost: float) -> None:
        self.loop, self.lost = loop, lost
        self.simulation = Simulation(loop, SETTINGS, POLICY)
        self.id = self.simulation.backend.add_company((XERO,), loop.clock()).id

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
        """Return how often a relink was asked for, and a connection was back."""
        kinds = (each.split("/")[1] for each in self.simulation.published if each.count("/") == 2)
        return Counter(kind for kind in kinds if kind in ("relink", "back"))

    def refuse(self, refuses: bool) -> None:
        """Have reads refused, or no longer, although the connection stays linked."""
        self.simulation.backend.set_refuses_reads(self.id, self.connection.id, refuses, self.loop.clock())

    async def run(self, duration: timedelta) -> None:
        """Let time pass."""
        await self.simulation.run_for(duration, every=MINUTE, random=Random(0), lost=self.lost)

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
