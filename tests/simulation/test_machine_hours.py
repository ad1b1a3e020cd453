"""Machines of customers that are online at night only: when a dataset waits for one, and when one counts as offline."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast

import pytest

from codat_sandbox.model import Connection
from codat_sandbox.platforms import QUICKBOOKS_DESKTOP
from codat_sandbox.settings import Settings
from freshness.app.reading.queries import Queries
from freshness.domain.feeds.feed_values import State
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation, reliable
from tests.builders import DAY, HOUR, MINUTE, a_policy

SETTINGS = reliable(machine_hours=(19, 7))


class Observed:
    """A simulation of a company with QuickBooks Desktop, whose machine is online from 19:00 to 07:00 UTC."""

    def __init__(self, loop: SimulatedLoop, settings: Settings) -> None:
        self.loop = loop
        self.simulation = Simulation(loop, settings, a_policy("3 hours"))
        self.company = self.simulation.backend.add_company((QUICKBOOKS_DESKTOP,), loop.clock())

    async def run(self, duration: timedelta) -> None:
        await self.simulation.run_for(duration, every=5 * MINUTE, random=Random(0), skips_idle=True)

    async def run_until(self, hour: int) -> None:
        """Run until an hour of the day."""
        now = self.loop.clock()
        then = now.replace(hour=hour, minute=30, second=0, microsecond=0)
        await self.run(then - now if then > now else then + DAY - now)

    def obstacles(self) -> set[str]:
        """Return why feeds that are being refreshed are not fresh."""
        simulation, now = self.simulation, self.loop.clock()
        company = simulation.tables.companies.get(self.company.id)
        assert company
        views = Queries(services=simulation.services(Fuse())).company(company, now)
        return {view.obstacle for view in views if view.state is State.REFRESHING}

    def unplug(self) -> Connection:
        """Take the machine offline, at night too."""
        [connection] = self.company.connections
        return self.simulation.backend.change_connection(
            self.company.id, connection.id, self.loop.clock(), machine_online=False
        )


@pytest.mark.parametrize("state", ["Queued", "Fetching"])
def test_a_machine_that_is_on_at_night_only_is_offline_once_a_dataset_has_waited_for_a_day(state: str) -> None:
    async def scenario(loop: SimulatedLoop) -> dict[str, set[str]]:
        settings = SETTINGS.model_copy(update={"machine_waits_in": state})
        observed, found = Observed(loop, settings), {}
        await observed.run(3 * DAY)
        await observed.run_until(15)
        found["at noon"] = observed.obstacles()
        observed.unplug()
        await observed.run_until(21)
        found["at night"] = observed.obstacles()
        await observed.run_until(15)
        found["a day later"] = observed.obstacles()
        return found

    found = simulate(cast(Any, scenario))

    waits = "it waits until the customer's machine with QuickBooks Desktop is online"
    assert found["at noon"] == found["at night"] == {waits}
    assert found["a day later"] == {"the customer's machine with QuickBooks Desktop is offline"}


def test_the_sandboxs_machines_are_online_in_their_hours() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)

    assert SETTINGS.machine_opens_at(noon) == noon + 7 * HOUR
    assert SETTINGS.machine_opens_at(noon + 8 * HOUR) == noon + 8 * HOUR
    assert SETTINGS.machine_opens_at(noon + 19 * HOUR) == noon + 31 * HOUR
    assert Settings().machine_opens_at(noon) == noon
