"""Custom products: calls that queue refreshes in a simulated day, compared with a call for each data type.

Both keep the same companies fresh, in simulated time, with the code that runs in Lambda. Without Codat's sync settings,
`data/all` is not used.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from random import Random

from bench.figures import Figure, Topic, show, without_logs
from codat_sandbox.platforms import XERO, DataType
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Simulation

COMPANIES = 60
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CREDIT = (DataType.INVOICES, DataType.BILLS, DataType.PAYMENTS, DataType.BILL_PAYMENTS, DataType.CUSTOMERS)
STATEMENTS = (DataType.BALANCE_SHEET, DataType.PROFIT_AND_LOSS, DataType.CHART_OF_ACCOUNTS, DataType.SUPPLIERS)
LEDGER = replace(XERO, data_types=(*CREDIT, *STATEMENTS))
PRODUCTS = {"credit-model": CREDIT, "statements": STATEMENTS}
SETTINGS = Settings(
    companies=0,
    fails_first=0,
    not_supported=0,
    permissions_error=0,
    sync_schedule={},
    custom_products=PRODUCTS,
)
PROMISED: dict[str, object] = {
    "default": {"fresh_within": "1 week", "off": True},
    "data_types": {str(each): {"fresh_within": "6 hours", "off": False} for each in (*CREDIT, *STATEMENTS)},
}
WITH_PRODUCTS = PROMISED | {"products": {name: {"data_types": list(types)} for name, types in PRODUCTS.items()}}


def simulation_of(loop: SimulatedLoop, policy: dict[str, object], companies: int) -> Simulation:
    """Return a simulation of companies that are connected to one ledger, without `data/all`."""
    simulation = Simulation(loop, SETTINGS, Policy.model_validate(policy))
    simulation.sandbox.stubs.add(StubResponse(path="/profile/syncSettings", status=403, times=10**6))
    for _ in range(companies):
        simulation.backend.add_company((LEDGER,), loop.clock())
    return simulation


def queueing_calls(simulation: Simulation) -> int:
    """Return the number of calls that queued refreshes, and of those that read what these had queued."""
    posts = sum(count for call, count in simulation.calls.items() if call.startswith("POST"))
    return posts + simulation.calls["GET data/history"]


def oldest(simulation: Simulation) -> timedelta:
    """Return the greatest age at Codat of the data types that are promised."""
    now = simulation.loop.clock()
    ages = [
        now - truth.latest_successful.completed
        for truth in simulation.backend.truth(now)
        if truth.data_type in (*CREDIT, *STATEMENTS) and truth.latest_successful and truth.latest_successful.completed
    ]
    return max(ages)


@dataclass(frozen=True, slots=True)
class Day:
    """What a simulated day took: the queueing calls, the promises broken, and the greatest age of promised data."""

    calls: int
    broken: int
    oldest: timedelta


def a_day(policy: dict[str, object], companies: int) -> Day:
    """Simulate a day of companies that were added before, over six hours."""

    async def scenario(loop: SimulatedLoop) -> Day:
        simulation = simulation_of(loop, policy, 0)
        run = partial(simulation.run_for, every=MINUTE, checks=15, random=Random(0), skips_idle=True)
        for _ in range(companies):
            simulation.backend.add_company((LEDGER,), loop.clock())
            await run(6 * HOUR / companies)
        await run(7 * HOUR)
        simulation.calls.clear()
        broken, worst = simulation.tallies["PromisesBroken"], timedelta(0)
        for _ in range(8):
            await run(3 * HOUR)
            worst = max(worst, oldest(simulation))
        return Day(queueing_calls(simulation), simulation.tallies["PromisesBroken"] - broken, worst)

    return simulate(scenario)


def measure() -> list[Figure]:
    """Measure a day with products, and one without."""
    with without_logs():
        singly, together = a_day(PROMISED, COMPANIES), a_day(WITH_PRODUCTS, COMPANIES)
    what = f"of {COMPANIES} companies with two custom products"
    return [
        Figure(
            what=f"queueing calls a day {what}",
            topic=Topic.CALLS,
            value=together.calls,
            unit="calls",
            against="one for each data type",
            floor=singly.calls,
            at_most=0.4,
        ),
        Figure(
            what=f"promises broken in a day {what}",
            topic=Topic.PROMISES,
            value=together.broken,
            unit="promises",
            against=f"with a call for each data type {singly.broken:,}",
            at_most=singly.broken,
        ),
    ]


if __name__ == "__main__":
    show("Custom products", measure())
