"""Custom data types are kept fresh on the connections that the policy names, though no webhook reports their ends."""

import asyncio
from datetime import timedelta
from random import Random

from codat_sandbox.companies import new_feeds
from codat_sandbox.model import Dataset
from codat_sandbox.platforms import PLAID, XERO
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import State
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Simulation, reliable
from tests.builders import DAY, HOUR, MINUTE, a_policy

BUDGETS = "custom.budgets"
SETTINGS = reliable(custom_data_types={"Xero": ("budgets",)})


def simulation_of(policy: dict[str, object], hours: int = 8) -> Simulation:
    """Return a simulation of a company with two connections after some hours."""

    async def scenario(loop: SimulatedLoop) -> Simulation:
        simulation = Simulation(loop, SETTINGS, a_policy("1 day", **policy))
        simulation.backend.add_company((XERO, PLAID), loop.clock())
        await simulation.run_for(hours * HOUR, every=MINUTE, random=Random(0))
        return simulation

    return simulate(scenario)


def budgets(simulation: Simulation) -> list[Feed]:
    return [feed for feed in simulation.feeds() if feed.data_type == BUDGETS]


def ages(simulation: Simulation) -> list[timedelta]:
    """Return how old Codat's copies are."""
    now = simulation.loop.clock()
    return [
        now - truth.latest_successful.completed
        for truth in simulation.backend.truth(now)
        if truth.data_type == BUDGETS and truth.latest_successful and truth.latest_successful.completed
    ]


def test_a_custom_data_type_is_kept_fresh_on_the_platform_of_its_rule() -> None:
    rule = {"name": "budgets", "platforms": ["Xero"], "data_types": {BUDGETS: {"fresh_within": "1 hour"}}}

    simulation = simulation_of({"rules": [rule]})

    [age] = ages(simulation)
    assert age <= HOUR
    [feed] = budgets(simulation)
    assert feed.succeeded_at
    assert feed.last_dataset
    assert feed.last_dataset.dataset_id
    recorded = [dataset for dataset in simulation.tables.datasets.scan() if dataset.data_type == BUDGETS]
    assert {dataset.state for dataset in recorded} == {"Complete"}
    assert 7 <= len(recorded) <= 12


def test_a_connection_without_the_custom_data_type_is_asked_once_a_week() -> None:
    simulation = simulation_of({"data_types": {BUDGETS: {"fresh_within": "1 hour"}}})

    xero, plaid = sorted(budgets(simulation), key=lambda feed: feed.is_unsupported)
    assert xero.succeeded_at
    assert plaid.is_unsupported
    assert plaid.end
    assert plaid.due_at == plaid.end.at + timedelta(weeks=1)
    company = simulation.tables.companies.get(plaid.company_id)
    assert company
    connection = company.connections[plaid.connection_id]
    promise = simulation.policy.promise(BUDGETS, company, connection)
    assert plaid.state(promise, connection, simulation.loop.clock()) is State.UNSUPPORTED


def test_a_custom_data_type_that_is_configured_later_is_found_after_a_week() -> None:
    policy = {"default": {"fresh_within": "4 weeks"}, "data_types": {BUDGETS: {"fresh_within": "1 day"}}}

    async def scenario(loop: SimulatedLoop) -> tuple[Feed, Feed, Simulation]:
        simulation = Simulation(loop, SETTINGS, Policy.model_validate(policy))
        company = simulation.backend.add_company((PLAID,), loop.clock())
        await simulation.run_for(HOUR, every=5 * MINUTE, random=Random(0))
        with_budgets = SETTINGS.model_copy(update={"custom_data_types": {"Plaid": ("budgets",)}})
        new = new_feeds(company.id, company.connections[0], with_budgets, Random(0))
        simulation.backend._store._feeds[company.id] += [each for each in new if each.data_type == BUDGETS]
        found = []
        for wait in (6 * DAY, DAY):
            await asyncio.sleep(wait.total_seconds())
            await simulation.run_for(2 * HOUR, every=5 * MINUTE, random=Random(0))
            found += budgets(simulation)
        earlier, later = found
        return earlier, later, simulation

    earlier, later, simulation = simulate(scenario)

    assert earlier.is_unsupported
    assert later.succeeded_at
    assert not later.is_unsupported
    [age] = ages(simulation)
    assert age <= 2 * HOUR


def test_no_custom_data_type_is_queued_that_the_policy_does_not_name() -> None:
    simulation = simulation_of({}, hours=2)

    assert budgets(simulation) == []
    assert ages(simulation) == []


def test_a_read_that_somebody_else_started_is_found_in_history_within_a_day() -> None:
    rule = {"name": "budgets", "platforms": ["Xero"], "data_types": {BUDGETS: {"fresh_within": "4 weeks"}}}

    async def scenario(loop: SimulatedLoop) -> tuple[Simulation, Dataset]:
        policy = a_policy("4 weeks", rules=[rule])
        simulation = Simulation(loop, SETTINGS, policy)
        simulation.backend.add_company((XERO,), loop.clock())
        await simulation.run_for(HOUR, every=MINUTE, random=Random(0))
        [feed] = budgets(simulation)
        queued = simulation.refresh_by_others(feed.company_id, BUDGETS, feed.connection_id)
        await simulation.run_for(25 * HOUR, every=5 * MINUTE, random=Random(0))
        history = simulation.backend.history(feed.company_id, loop.clock())
        return simulation, next(dataset for dataset in history if dataset.id == queued.id)

    simulation, dataset = simulate(scenario)

    [feed] = budgets(simulation)
    assert dataset.completed
    assert feed.succeeded_at == dataset.completed
    assert feed.end
    assert feed.end.dataset_id == dataset.id
