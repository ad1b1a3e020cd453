"""Attainment as the system records it, against what is so at Codat minute by minute.

Webhooks are lost, syncs fail, Codat is down for hours, and connections lapse and come back.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

import pytest

from codat_sandbox.model import ConnectionStatus, Truth
from codat_sandbox.platforms import MYOB, PLAID, DataType
from codat_sandbox.settings import Settings
from freshness.app.reading.report import attainment
from freshness.domain.slo.attainment import HOUR, Attained
from freshness.policy.policy import Policy
from simulate.clock import START, SimulatedLoop, simulate
from simulate.loop import Simulation

EXACT = 0.001
MINUTE = timedelta(minutes=1)
COMPANIES = 9
LOST = 0.2
"""The share of webhooks that are never delivered."""
OUTAGE_EVERY = 12 * HOUR
"""How often Codat is down, on average: for half an hour to four hours."""
FRESH_WITHIN = {DataType.INVOICES: 2 * HOUR, DataType.BILLS: 6 * HOUR, DataType.BANKING_TRANSACTIONS: HOUR}
POLICY = Policy.model_validate(
    {"default": {"fresh_within": "1 day"}}
    | {"data_types": {str(name): {"fresh_within": f"{within // HOUR} hours"} for name, within in FRESH_WITHIN.items()}}
)
PLATFORMS = (
    replace(MYOB, data_types=(DataType.INVOICES, DataType.BILLS)),
    replace(PLAID, data_types=(DataType.BANKING_TRANSACTIONS,)),
)
SETTINGS = Settings(
    companies=0,
    sync_time_min=timedelta(seconds=20),
    sync_time_max=timedelta(minutes=4),
    fails_first=0.1,
    fails_later=0.05,
    not_supported=0,
    permissions_error=0,
    sync_schedule={},
    calls_per_minute=100_000,
)


@dataclass
class AtCodat:
    """The attainment as calculated from Codat's own data."""

    times: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """The seconds of all feeds together, by the fields of `Attained`."""
    counted_at: datetime = START

    def count(self, truths: list[Truth], now: datetime) -> None:
        """Count the time since the last call by the present state of all feeds."""
        elapsed = (now - self.counted_at).total_seconds()
        self.counted_at = now
        for truth in truths:
            successful = truth.latest_successful
            read_at = successful.completed if successful and successful.completed else START
            self.times["promised"] += elapsed
            if now - read_at > FRESH_WITHIN[DataType(truth.data_type)]:
                self.times["late" if truth.connection.status is ConnectionStatus.LINKED else "waiting"] += elapsed

    @property
    def attained(self) -> Attained:
        """Return the time that was counted."""
        return Attained(**{name: timedelta(seconds=seconds) for name, seconds in self.times.items()})


@dataclass
class Troubles:
    """What goes wrong at random: Codat is down, and connections lapse for some hours."""

    simulation: Simulation
    random: Random
    down_until: datetime = START
    lapsed: dict[str, datetime] = field(default_factory=dict)
    """Until when the connection of each company is lapsed."""

    def pass_minute(self) -> None:
        """Let troubles begin or end at random."""
        now, random = self.simulation.loop.clock(), self.random
        if random.random() < MINUTE / OUTAGE_EVERY:
            self.down_until = now + random.uniform(0.5, 4) * HOUR
        self.simulation.is_down = now < self.down_until
        company = random.choice(self.simulation.backend.companies())
        if company.id not in self.lapsed and random.random() < MINUTE / (20 * HOUR):
            self.lapsed[company.id] = now + random.uniform(1, 12) * HOUR
            self._set_status(company.id, ConnectionStatus.DEAUTHORIZED, now)
        for company_id in [company_id for company_id, until in self.lapsed.items() if until <= now]:
            del self.lapsed[company_id]
            self._set_status(company_id, ConnectionStatus.LINKED, now)

    def _set_status(self, company_id: str, status: ConnectionStatus, now: datetime) -> None:
        [connection] = self.simulation.backend.company(company_id).connections
        self.simulation.backend.set_connection_status(company_id, connection.id, status, now)


async def _run(loop: SimulatedLoop, length: timedelta, seed: int) -> tuple[Attained, Attained]:
    random = Random(seed)
    simulation, at_codat = Simulation(loop, SETTINGS, POLICY), AtCodat()
    for number in range(COMPANIES):
        simulation.backend.add_company([PLATFORMS[number % 3 == 0]], loop.clock())
    troubles = Troubles(simulation, random)
    while loop.clock() < START + length:
        troubles.pass_minute()
        await simulation.run_for(MINUTE, every=MINUTE, random=random, lost=LOST)
        at_codat.count(list(simulation.backend.truth(loop.clock())), loop.clock())
    whole, *_ = attainment(simulation.tables, POLICY, loop.clock(), loop.clock() - START)
    return at_codat.attained, whole.times


def compare(length: timedelta, seed: int = 1) -> tuple[Attained, Attained]:
    """Simulate a time. Return the attainment as calculated from Codat's data, and as recorded."""
    return simulate(lambda loop: _run(loop, length, seed))


def test_attainment_is_exact_although_webhooks_are_lost_and_codat_and_connections_are_away() -> None:
    at_codat, recorded = compare(timedelta(hours=30), seed=4)

    assert at_codat.share and at_codat.share < 1 - 5 * EXACT
    assert recorded.share == pytest.approx(at_codat.share, abs=EXACT)
    assert recorded.promised == pytest.approx(at_codat.promised, rel=EXACT)
    # A lapse whose webhook was lost shows only in the next list of companies.
    assert recorded.waiting == pytest.approx(at_codat.waiting, rel=0.02)
