"""Custom products: several data types of a company are queued by one call, which names no datasets."""

from collections import Counter
from random import Random

import pytest

from bench.products import CREDIT, HOUR, MINUTE, PROMISED, STATEMENTS, WITH_PRODUCTS, a_day, oldest, simulation_of
from codat_sandbox.model import DatasetStatus, RequestedBy
from freshness.domain.datasets.dataset import Trigger
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation


def test_two_products_need_at_most_two_fifths_of_the_calls_and_keep_the_promises_equally_well() -> None:
    singly, together = a_day(PROMISED, companies=8), a_day(WITH_PRODUCTS, companies=8)

    assert together.calls <= 0.4 * singly.calls
    assert together.broken <= singly.broken
    assert max(singly.oldest, together.oldest) <= 6 * HOUR


def test_what_a_product_queued_is_recorded_under_its_dataset_ids() -> None:
    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = simulation_of(loop, WITH_PRODUCTS, 1)
        await simulation.run_for(14 * HOUR, every=MINUTE, random=Random(0), skips_idle=True)
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
    assert at_codat <= recorded.keys() | {
        feed.last_dataset.dataset_id for feed in simulation.feeds() if feed.last_dataset
    }
    assert {trigger for dataset_id, trigger in recorded.items() if dataset_id in at_codat} == {Trigger.PROMISE}


class Everything(set[str]):
    """All event types that there are."""

    def __contains__(self, event_type: object) -> bool:
        return True


@pytest.mark.parametrize("event_types", [None, Everything()], ids=["the fewest", "all"])
def test_each_read_is_published_once_in_however_many_forms_it_is_reported(event_types: set[str] | None) -> None:
    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = simulation_of(loop, WITH_PRODUCTS, 1)
        if event_types is not None:
            simulation.event_types = event_types
        await simulation.run_for(14 * HOUR, every=MINUTE, random=Random(0), doubled=0.2, skips_idle=True)
        return simulation

    simulation = simulate(scenario)

    [company] = simulation.backend.companies()
    history = simulation.backend.history(company.id, simulation.loop.clock())
    completed = [dataset for dataset in history if dataset.status is DatasetStatus.COMPLETE]
    assert set(simulation.published.values()) == {1}
    assert len(simulation.published) == len(completed)
    assert simulation.tallies["ReadsCompleted"] >= len(completed) * (1 if event_types is None else 2)


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
        await simulation.run_for(8 * HOUR, every=MINUTE, random=Random(0), skips_idle=True)
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
