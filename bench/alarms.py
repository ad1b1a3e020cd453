"""Alarms of simulated months: ErrorBudgetBurning, on burn rates, and PromisesBroken, on any unattended feed.

Every three days there is an outage of three to six hours, which both should report: in turn, Codat is down, or all
refreshes stay paused by mistake. Besides, there is the usual trouble of a fleet, which takes little of its error
budget. Nobody should be called about it:

- once a day all refreshes are paused for about an hour, as for maintenance, which breaks some of the promises;
- on average once a day an operator pauses a company for two to six hours;
- one or two times a day the platform of a company answers every sync with an error for two to six hours;
- on average once a day a link lapses, until the customer returns after two hours to two days;
- one sync in twenty fails, and one webhook in twenty is lost.
"""

import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import Random

from bench.attainment import PLATFORMS, SETTINGS
from bench.figures import Figure, show
from codat_sandbox.model import ConnectionStatus
from freshness.app.operations import Operations
from freshness.app.reading.report import burn_percent
from freshness.aws.metrics import Metric
from freshness.domain.slo.attainment import DAY, HOUR
from freshness.policy.policy import Policy
from simulate.clock import START, SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation

MINUTE = timedelta(minutes=1)
MONTH = 30 * DAY
SEEDS = (1, 2, 3)
"""Each seed gives a different month."""
COMPANIES = 24
PERIOD = timedelta(minutes=15)
"""The period of the alarms."""
OUTAGE_EVERY = 3 * DAY
RECOVERY = 7 * HOUR
"""How long after an outage an alarm still counts as about it: the longest time that the burn rate covers.

That is six hours, and up to one more, since it begins with a full hour.
"""
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
    """An alarm on one value a period. It is raised after `periods` breaching values in a row."""

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


@dataclass(frozen=True)
class Counted:
    """The outages of a month, how many of them the alarms detected, and how many alarms were false.

    `detected` and `false` are of ErrorBudgetBurning, the others of PromisesBroken.
    """

    outages: int
    detected: int
    detected_before: int
    false: int
    false_before: int


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
    works_at: dict[str, datetime] = field(default_factory=dict)

    def plan(self) -> None:
        """Add companies, and plan the outages: one in every `OUTAGE_EVERY`."""
        for number in range(COMPANIES):
            self.simulation.backend.add_company([PLATFORMS[number % 3 == 0]], START)
        for number in range(MONTH // OUTAGE_EVERY):
            start = START + number * OUTAGE_EVERY + self.random.uniform(0.2, 0.8) * OUTAGE_EVERY
            self.outages.append((start, start + self.random.uniform(3, 6) * HOUR))
        for day in range(MONTH // DAY):
            start = START + day * DAY + self.random.uniform(0, 0.9) * DAY
            self.maintenance.append((start, start + self.random.uniform(55, 70) * MINUTE))

    async def run(self) -> None:
        """Run the month."""
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
        """Begin or end an outage or maintenance. In every other outage Codat is down, else everything is paused."""
        is_on = [start <= now < end for start, end in self.outages]
        self.simulation.is_down = any(is_on[::2])
        control = self.simulation.tables.control
        if (any(is_on[1::2]) or any(start <= now < end for start, end in self.maintenance)) != (
            control.paused() is not None
        ):
            control.resume(now) if control.paused() else control.pause()

    def _usual_trouble(self, now: datetime) -> None:
        backend, random = self.simulation.backend, self.random
        company = random.choice(backend.companies())
        if random.random() < 5 * MINUTE / DAY and company.id not in self.resume_at:
            self._pause(company.id, paused=True)
            self.resume_at[company.id] = now + random.uniform(2, 6) * HOUR
        for company_id in _over(self.resume_at, now):
            self._pause(company_id, paused=False)
        company = random.choice(backend.companies())
        if random.random() < 1.5 * 5 * MINUTE / DAY and company.id not in self.works_at:
            backend.set_platform_works(company.id, company.connections[0].id, False, now)
            self.works_at[company.id] = now + random.uniform(2, 6) * HOUR
        for company_id in _over(self.works_at, now):
            backend.set_platform_works(company_id, backend.company(company_id).connections[0].id, True, now)
        company = random.choice(backend.companies())
        if random.random() < 5 * MINUTE / DAY and company.id not in self.relink_at:
            backend.set_connection_status(company.id, company.connections[0].id, ConnectionStatus.DEAUTHORIZED, now)
            self.relink_at[company.id] = now + random.uniform(2, 48) * HOUR
        for company_id in _over(self.relink_at, now):
            connection_id = backend.company(company_id).connections[0].id
            backend.set_connection_status(company_id, connection_id, ConnectionStatus.LINKED, now)

    def _pause(self, company_id: str, *, paused: bool) -> None:
        operations = Operations(services=self.simulation.services(Fuse()), actor=OPERATOR)
        if company := self.simulation.tables.companies.get(company_id):
            operations.pause(company) if paused else operations.resume(company)


def _over(ends: dict[str, datetime], now: datetime) -> list[str]:
    """Return the companies whose trouble is over, and remove them."""
    over = [each for each, at in ends.items() if at <= now]
    for company_id in over:
        del ends[company_id]
    return over


async def _run(seed: int, loop: SimulatedLoop) -> Month:
    random = Random(seed)  # noqa: S311 - not for cryptography
    month = Month(Simulation(loop, SETTINGS, POLICY), random)
    month.plan()
    await month.run()
    return month


def _counted(seed: int) -> Counted:
    """Simulate a month, and count its outages and alarms."""
    logging.disable(logging.CRITICAL)
    month = simulate(partial(_run, seed))
    return Counted(
        outages=len(month.outages),
        detected=_detected(month.burning, month.outages),
        detected_before=_detected(month.unattended, month.outages),
        false=_false(month.burning, month.outages),
        false_before=_false(month.unattended, month.outages),
    )


def _false(alarm: Alarm, outages: list[tuple[datetime, datetime]]) -> int:
    """Return how often an alarm was raised without an outage."""
    return sum(not any(start <= at <= end + RECOVERY for start, end in outages) for at in alarm.raised)


def _detected(alarm: Alarm, outages: list[tuple[datetime, datetime]]) -> int:
    """Return during how many outages an alarm was raised."""
    return sum(any(start <= at <= end + RECOVERY for at in alarm.raised) for start, end in outages)


def measure() -> list[Figure]:
    """Compare the alarms of a few months."""
    with ProcessPoolExecutor() as pool:
        months = list(pool.map(_counted, SEEDS))
    outages = sum(month.outages for month in months)
    detected = [month.detected for month in months]
    detected_before = [month.detected_before for month in months]
    false = [month.false for month in months]
    false_before = [month.false_before for month in months]
    return [
        Figure(
            what=f"outages of {len(months)} months that ErrorBudgetBurning detects, of {outages}",
            value=sum(detected),
            unit="outages",
            against=f"in each month {_each(detected)}; PromisesBroken detected {_each(detected_before)}",
            at_least=outages,
        ),
        Figure(
            what=f"false alarms of ErrorBudgetBurning in these months: {_each(false)}",
            value=sum(false),
            unit="alarms",
            against=f"a fifth of those of PromisesBroken, which were {_each(false_before)}",
            at_most=0.2 * sum(false_before),
        ),
    ]


def _each(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


if __name__ == "__main__":
    show("Alarms", measure())
