"""Alarms of a simulated month: on burn rates, and on any feed that nothing is done about, as PromisesBroken was.

Outages are injected: Codat is down for hours, or refreshes stay paused by mistake. Beside them there is what is usual
and takes little of the error budget: refreshes are paused for an hour and a half once a day, an operator pauses a
company for some hours, syncs fail, webhooks are lost, and connections lapse.
"""

import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from bench.attainment import PLATFORMS, SETTINGS
from bench.figures import Figure, show
from freshness.app.attainment import burn_percent
from freshness.app.operations import Operations
from freshness.aws.metrics import Metric
from freshness.domain.attainment import DAY, HOUR
from freshness.policy.policy import Policy
from local.codat_sandbox.model import ConnectionStatus
from simulate.clock import START, SimulatedLoop, simulate
from simulate.loop import Simulation

MINUTE = timedelta(minutes=1)
MONTH = 30 * DAY
COMPANIES = 24
PERIOD = timedelta(minutes=15)
"""The period of the alarms."""
OUTAGE_EVERY = 3 * DAY
RECOVERY = 6 * HOUR
"""How long after an outage an alarm is still about it: the longest time over which the burn rate is computed."""
LOST = 0.05
POLICY = Policy.model_validate(
    {
        "default": {"fresh_within": "1 day", "objective": 0.99},
        "data_types": {
            "invoices": {"fresh_within": "6 hours"},
            "banking-transactions": {"fresh_within": "4 hours"},
        },
    }
)


@dataclass
class Alarm:
    """An alarm on one value a period, which is raised after `periods` of them in a row."""

    periods: int
    last: deque[bool] = field(default_factory=deque)
    raised: list[datetime] = field(default_factory=list)
    """When it was raised."""
    is_raised: bool = False

    def add(self, breaching: bool, now: datetime) -> None:
        """Add the value of a period."""
        self.last.append(breaching)
        if len(self.last) > self.periods:
            self.last.popleft()
        was_raised, self.is_raised = self.is_raised, len(self.last) == self.periods and all(self.last)
        if self.is_raised and not was_raised:
            self.raised.append(now)


@dataclass
class Month:
    """A simulated month with its outages and alarms."""

    simulation: Simulation
    random: Random
    outages: list[tuple[datetime, datetime]] = field(default_factory=list)
    burning: Alarm = field(default_factory=lambda: Alarm(1))
    unattended: Alarm = field(default_factory=lambda: Alarm(3))
    maintenance: list[tuple[datetime, datetime]] = field(default_factory=list)
    resume_at: dict[str, datetime] = field(default_factory=dict)
    relink_at: dict[str, datetime] = field(default_factory=dict)

    def plan(self) -> None:
        """Add companies, and plan the outages: one in every `OUTAGE_EVERY`."""
        for number in range(COMPANIES):
            self.simulation.backend.add_company([PLATFORMS[number % 3 == 0]], START)
        for number in range(MONTH // OUTAGE_EVERY):
            start = START + number * OUTAGE_EVERY + self.random.uniform(0.2, 0.8) * OUTAGE_EVERY
            self.outages.append((start, start + self.random.uniform(3, 6) * HOUR))
        for day in range(MONTH // DAY):
            start = START + day * DAY + self.random.uniform(0, 0.9) * DAY
            self.maintenance.append((start, start + self.random.uniform(75, 105) * MINUTE))

    async def run(self) -> None:
        """Run all of it."""
        loop, simulation = self.simulation.loop, self.simulation
        while loop.clock() < START + MONTH:
            fewest, fastest = 1, 0
            ends_at = loop.clock() + PERIOD
            while loop.clock() < ends_at:
                self._outage(loop.clock())
                self._usual_trouble(loop.clock())
                await simulation.run_for(5 * MINUTE, every=MINUTE, random=self.random, lost=LOST)
                fewest = min(fewest, simulation.measured[Metric.FEEDS_UNATTENDED])
                fastest = max(fastest, burn_percent(simulation.tables, POLICY, loop.clock()))
            self.burning.add(fastest >= 100, loop.clock())
            self.unattended.add(fewest > 0, loop.clock())

    def _outage(self, now: datetime) -> None:
        """Let every other outage be one of Codat, and the others a pause of everything."""
        is_on = [start <= now < end for start, end in self.outages]
        self.simulation.is_down = any(is_on[::2])
        control = self.simulation.tables.control
        if (any(is_on[1::2]) or any(start <= now < end for start, end in self.maintenance)) != control.is_paused():
            control.resume() if control.is_paused() else control.pause()

    def _usual_trouble(self, now: datetime) -> None:
        backend, random = self.simulation.backend, self.random
        company = random.choice(backend.companies())
        if random.random() < 5 * MINUTE / DAY and company.id not in self.resume_at:
            self._pause(company.id, paused=True)
            self.resume_at[company.id] = now + random.uniform(2, 6) * HOUR
        for company_id in [each for each, at in self.resume_at.items() if at <= now]:
            del self.resume_at[company_id]
            self._pause(company_id, paused=False)
        if random.random() < 5 * MINUTE / DAY and company.id not in self.relink_at:
            backend.set_connection_status(company.id, company.connections[0].id, ConnectionStatus.DEAUTHORIZED, now)
            self.relink_at[company.id] = now + random.uniform(2, 48) * HOUR
        for company_id in [each for each, at in self.relink_at.items() if at <= now]:
            del self.relink_at[company_id]
            [connection] = backend.company(company_id).connections
            backend.set_connection_status(company_id, connection.id, ConnectionStatus.LINKED, now)

    def _pause(self, company_id: str, *, paused: bool) -> None:
        operations = Operations(recorder=self.simulation.recorder(), clock=self.simulation.clock)
        if company := self.simulation.tables.companies.get(company_id):
            operations.pause(company) if paused else operations.resume(company)


async def _run(loop: SimulatedLoop) -> Month:
    random = Random(1)  # noqa: S311 - not for cryptography
    month = Month(Simulation(loop, SETTINGS, POLICY), random)
    month.plan()
    await month.run()
    return month


def _false(alarm: Alarm, outages: list[tuple[datetime, datetime]]) -> int:
    """Return how often an alarm was raised without an outage."""
    return sum(not any(start <= at <= end + RECOVERY for start, end in outages) for at in alarm.raised)


def _detected(alarm: Alarm, outages: list[tuple[datetime, datetime]]) -> int:
    """Return during how many outages an alarm was raised."""
    return sum(any(start <= at <= end + RECOVERY for at in alarm.raised) for start, end in outages)


def measure() -> list[Figure]:
    """Compare the alarms of a month."""
    logging.disable(logging.CRITICAL)
    try:
        month = simulate(_run)
    finally:
        logging.disable(logging.NOTSET)
    outages, burning, unattended = month.outages, month.burning, month.unattended
    false_before = _false(unattended, outages)
    return [
        Figure(
            what=f"outages of a month that ErrorBudgetBurning detects, of {len(outages)}",
            value=_detected(burning, outages),
            unit="outages",
            against=f"PromisesBroken detected {_detected(unattended, outages)}",
            at_least=len(outages),
        ),
        Figure(
            what="false alarms of ErrorBudgetBurning in that month",
            value=_false(burning, outages),
            unit="alarms",
            against="PromisesBroken",
            floor=false_before,
            at_most=0.2,
        ),
    ]


if __name__ == "__main__":
    show("Alarms", measure())
