"""The whole system in simulated time, with the page of it served: a test moves time on, and looks at the page."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from codat_sandbox.model import ConnectionStatus
from codat_sandbox.settings import Settings
from freshness.app.operations import Operations
from freshness.app.reading.queries import Queries
from freshness.app.webhook_heartbeat import WEBHOOK_RECEIVED
from freshness.policy.loader import load
from simulate.clock import SimulatedLoop
from simulate.loop import OPERATOR, Fuse, Simulation
from tests.builders import MINUTE

SETTINGS = Settings(
    companies=12,
    fresh_at_start=1,
    never_synced=0,
    needs_relink=0,
    machine_offline=0,
    permissions_error=0,
    fails_first=0,
    sync_schedule={},
    daily_quota=20_000,
)
ROOT = Path(__file__).parents[2]
Result = TypeVar("Result")


class _Simulation(Simulation):
    """A simulation whose webhooks leave their heartbeat, as those of the deployed function do."""

    def deliver(self, body: str, fuse: Fuse) -> bool:
        self.tables.control.put_done(WEBHOOK_RECEIVED, self.clock())
        return super().deliver(body, fuse)


class World:
    """A `stack_access.page_server.Source` over a simulation."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        loop = SimulatedLoop()
        self._runner = asyncio.Runner(loop_factory=lambda: loop)
        self.simulation = _Simulation(loop, settings, load(ROOT / "freshness.toml"))
        self.queries = Queries(services=self.simulation.services(Fuse()))
        self.operations = Operations(services=self.queries.services, actor=OPERATOR)
        self.random = Random(1)
        self.links_read: list[tuple[str, str]] = []
        self.links_at = "https://link.example/"

    def now(self) -> datetime:
        """Return the simulated time."""
        return self.simulation.clock()

    def link(self, company_id: str, connection_id: str) -> str:
        """Return a link, and remember that it was read."""
        self.links_read.append((company_id, connection_id))
        return f"{self.links_at}{connection_id}"

    def close(self) -> None:
        """Close the event loop."""
        self._runner.close()

    def do(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in simulated time."""
        return self._runner.run(coroutine)

    def pass_time(self, duration: timedelta, *, every: timedelta = MINUTE, lost: float = 0.0) -> None:
        """Let the ticks run for a time, with a share of webhooks lost."""
        self.do(self.simulation.run_for(duration, every=every, random=self.random, lost=lost))

    def set_link(self, status: ConnectionStatus, number: int = 0) -> str:
        """Let the authorisation of a company's first connection lapse or return, and return the company's name."""
        company = self.simulation.backend.companies()[number]
        connection = company.connections[0]
        self.simulation.backend.set_connection_status(company.id, connection.id, status, self.simulation.loop.clock())
        return company.name
