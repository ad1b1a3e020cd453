"""Custom products: several data types of a company are queued by one call, which names no datasets."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from freshness.domain.dataset import Trigger
from freshness.policy.policy import Policy
from local.codat_sandbox.model import RequestedBy
from local.codat_sandbox.platforms import XERO, DataType
from local.codat_sandbox.settings import Settings
from local.codat_sandbox.stubs import StubResponse
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation

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
    """Return the number of calls that queued refreshes, with those that read what they queued."""
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


def a_day(policy: dict[str, object], companies: int) -> tuple[int, int, timedelta]:
    """Return the queueing calls, the promises broken and the greatest age in a simulated day.

    The companies were added at different times before.
    """

    async def scenario(loop: SimulatedLoop) -> tuple[int, int, timedelta]:
        simulation = simulation_of(loop, policy, 0)
        for _ in range(companies):
            simulation.backend.add_company((LEDGER,), loop.clock())
            await simulation.run_for(6 * HOUR / companies, every=MINUTE, checks=15, random=Random(0))
        await simulation.run_for(7 * HOUR, every=MINUTE, checks=15, random=Random(0))
        simulation.calls.clear()
        broken, worst = simulation.tallies["PromisesBroken"], timedelta(0)
        for _ in range(8):
            await simulation.run_for(3 * HOUR, every=MINUTE, checks=15, random=Random(0))
            worst = max(worst, oldest(simulation))
        return queueing_calls(simulation), simulation.tallies["PromisesBroken"] - broken, worst

    return simulate(scenario)


def test_two_products_need_at_most_two_fifths_of_the_calls_and_keep_the_promises_equally_well() -> None:
    singly, broken_singly, worst_singly = a_day(PROMISED, companies=36)
    together, broken_together, worst_together = a_day(WITH_PRODUCTS, companies=36)

    assert together <= 0.4 * singly
    assert broken_together <= broken_singly
    assert max(worst_singly, worst_together) <= 6 * HOUR


def test_what_a_product_queued_is_recorded_under_its_dataset_ids() -> None:
    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = simulation_of(loop, WITH_PRODUCTS, 1)
        await simulation.run_for(14 * HOUR, every=MINUTE, random=Random(0))
        return simulation

    simulation = simulate(scenario)

    assert simulation.calls["POST products/credit-model/refresh"] + simulation.calls["POST products/statements/refresh"]
    [company] = simulation.backend.companies()
    at_codat = {
        dataset.id
        for dataset in simulation.backend.history(company.id, simulation.loop.clock())
        if dataset.requested_by is RequestedBy.API
    }
    recorded = {each.dataset_id: each.trigger for each in simulation.tables.datasets.scan()}
    assert at_codat
    assert at_codat <= recorded.keys() | {feed.request.dataset_id for feed in simulation.feeds() if feed.request}
    assert {trigger for dataset_id, trigger in recorded.items() if dataset_id in at_codat} == {Trigger.PROMISE}


def test_a_product_that_syncs_already_is_adopted() -> None:
    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = simulation_of(loop, WITH_PRODUCTS, 1)
        await simulation.run_for(MINUTE, every=MINUTE, random=Random(0))
        await simulation.advance(6 * HOUR)
        [company] = simulation.backend.companies()
        simulation.backend.refresh_product(company.id, "credit-model", None, loop.clock())
        simulation.calls.clear()
        await simulation.queue(Fuse())
        return simulation

    simulation = simulate(scenario)

    assert simulation.tallies["DatasetsAdopted"] == len(CREDIT)
    in_flight = Counter(feed.in_flight.trigger for feed in simulation.feeds() if feed.in_flight)
    assert in_flight == {Trigger.EXTERNAL: len(CREDIT), Trigger.PROMISE: len(STATEMENTS)}
    assert not [call for call in simulation.calls if "data/queue" in call]


def test_a_standard_product_is_refused_and_its_data_types_are_queued_by_themselves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    policy = PROMISED | {"products": {"lending": {"data_types": list(CREDIT)}}}

    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = simulation_of(loop, policy, 1)
        await simulation.run_for(8 * HOUR, every=MINUTE, random=Random(0))
        return simulation

    simulation = simulate(scenario)

    assert simulation.calls["POST products/lending/refresh"]
    assert oldest(simulation) <= 6 * HOUR
    refused = [vars(record) for record in caplog.records if "A product cannot be refreshed" in record.getMessage()]
    assert {record["product"] for record in refused} == {"lending"}


@pytest.mark.parametrize("calls_left", range(12))
def test_killed_after_any_call_a_product_is_not_refreshed_twice(calls_left: int) -> None:
    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = simulation_of(loop, WITH_PRODUCTS, 1)
        await simulation.run_for(2 * MINUTE, every=MINUTE, random=Random(0))
        await simulation.advance(6 * HOUR)
        await simulation.queue(Fuse(calls_left))
        await simulation.advance(6 * MINUTE)
        for _ in range(3):
            await simulation.queue(Fuse())
            await simulation.advance(MINUTE)
        return simulation

    simulation = simulate(scenario)

    [company] = simulation.backend.companies()
    counts = Counter(
        dataset.data_type
        for dataset in simulation.backend.history(company.id, simulation.loop.clock())
        if dataset.requested_by is RequestedBy.API and simulation.loop.clock() - dataset.requested < HOUR
    )
    assert set(counts.values()) == {1}
    assert len(counts) == len(CREDIT) + len(STATEMENTS)
