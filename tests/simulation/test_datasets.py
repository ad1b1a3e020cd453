"""The table of datasets: who looks for one finds it while it runs, and afterwards with its end, whatever fails."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import cli.dataset
from cli.commands import app
from codat_sandbox.model import ConnectionStatus, RequestedBy
from codat_sandbox.platforms import PLAID, DataType
from freshness.app.reading.queries import NotFound, Queries
from freshness.app.reading.views import FoundDataset
from freshness.domain.companies.company_facts import CheckNeeded
from freshness.domain.datasets.dataset import OUTCOMES, Outcome, Trigger
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import TIMEOUT, Fuse, Simulation, reliable
from tests.builders import MINUTE, a_policy

SYNC = 3 * MINUTE
SETTINGS = reliable(sync_time_min=SYNC, sync_time_max=SYNC, latency=timedelta(milliseconds=10))
POLICY = a_policy("2 hours")
BANK = replace(PLAID, data_types=(DataType.BANKING_ACCOUNTS, DataType.BANKING_TRANSACTIONS))
Happen = Callable[[Simulation], None]


async def started(loop: SimulatedLoop, fuse: Fuse | None = None) -> Simulation:
    """Return a simulation in which the data types of one company were queued a moment ago by a tick with a fuse."""
    simulation = Simulation(loop, SETTINGS, POLICY)
    simulation.backend.add_company((BANK,), loop.clock())
    await simulation.check(Fuse())
    await simulation.advance(2 * SYNC)
    await simulation.check(Fuse())
    await simulation.advance(timedelta(hours=2))
    simulation.pending.clear()
    await simulation.queue(fuse or Fuse())
    return simulation


async def check(simulation: Simulation) -> None:
    """Check the company now, whatever is known of it."""
    for company in list(simulation.tables.companies.scan()):
        simulation.recorder().record_company(company, CheckNeeded())
    await simulation.check(Fuse())


def running_ids(simulation: Simulation) -> list[str]:
    """Return the ids of the datasets that run at Codat, and that this system queued."""
    [company] = simulation.backend.companies()
    history = simulation.backend.history(company.id, simulation.loop.clock())
    return [each.id for each in history if each.completed is None and each.requested_by is RequestedBy.API]


def found(simulation: Simulation, dataset_id: str) -> FoundDataset:
    return Queries(services=simulation.services(Fuse())).dataset(dataset_id)


def apply_webhooks(simulation: Simulation) -> None:
    simulation.collect()
    assert simulation.deliver_all()


@pytest.mark.parametrize("reports", ["webhook", "poll", "webhook poll", "poll webhook", "webhook webhook"])
def test_a_dataset_is_found_by_its_id_while_it_runs_and_then_with_its_end(reports: str) -> None:
    async def scenario(loop: SimulatedLoop) -> tuple[list[FoundDataset], list[FoundDataset]]:
        simulation = await started(loop)
        ids = running_ids(simulation)
        running = [found(simulation, each) for each in ids]
        await simulation.advance(3 * SYNC)
        sent = list(simulation.pending)
        for report in reports.split():
            if report == "poll":
                await check(simulation)
            else:
                simulation.pending = list(sent)
                apply_webhooks(simulation)
        return running, [found(simulation, each) for each in ids]

    running, ended = simulate(scenario)

    assert running
    for before, after in zip(running, ended, strict=True):
        assert (before.data_type, before.company_name, before.platform) != ("", "", "")
        assert before.dataset.ended_at is None
        assert OUTCOMES[before.dataset.state] is Outcome.IN_FLIGHT
        assert (before.dataset.trigger, before.dataset.requested_at) == (Trigger.PROMISE, after.dataset.requested_at)
        assert after.dataset.state == "Complete"
        assert after.dataset.ended_at
        assert abs(after.dataset.ended_at - after.dataset.requested_at - SYNC) <= timedelta(seconds=2)


def test_a_dataset_that_others_requested_is_found_once_it_was_seen_to_run() -> None:
    async def scenario(loop: SimulatedLoop) -> tuple[FoundDataset, FoundDataset]:
        simulation = Simulation(loop, SETTINGS, POLICY)
        simulation.backend.add_company((BANK,), loop.clock())
        await simulation.run_for(30 * MINUTE, every=MINUTE, random=Random(1))
        [feed, *_] = simulation.feeds()
        theirs = simulation.refresh_by_others(*feed.key)
        with pytest.raises(NotFound, match="explain COMPANY TYPE"):
            found(simulation, theirs.id)
        await check(simulation)
        running = found(simulation, theirs.id)
        await simulation.advance(2 * SYNC)
        apply_webhooks(simulation)
        return running, found(simulation, theirs.id)

    running, ended = simulate(scenario)

    assert (running.dataset.trigger, running.dataset.ended_at) == (Trigger.EXTERNAL, None)
    assert (ended.dataset.trigger, ended.dataset.state) == (Trigger.EXTERNAL, "Complete")


def delete_company(simulation: Simulation) -> None:
    [company] = simulation.backend.companies()
    simulation.backend.delete_company(company.id, simulation.loop.clock())


def delete_connection(simulation: Simulation) -> None:
    [company] = simulation.backend.companies()
    simulation.backend.delete_connection(company.id, company.connections[0].id, simulation.loop.clock())


def unlink(simulation: Simulation) -> None:
    [company] = simulation.backend.companies()
    connection_id, now = company.connections[0].id, simulation.loop.clock()
    simulation.backend.set_connection_status(company.id, connection_id, ConnectionStatus.UNLINKED, now)


@pytest.mark.parametrize("lost", [0, 1], ids=["webhooks arrive", "webhooks are lost"])
@pytest.mark.parametrize("happen", [delete_company, delete_connection, unlink])
def test_a_dataset_that_is_abandoned_has_an_end(happen: Happen, lost: int) -> None:
    async def scenario(loop: SimulatedLoop) -> tuple[list[str], list[str]]:
        simulation = await started(loop)
        ids = running_ids(simulation)
        happen(simulation)
        await simulation.run_for(timedelta(hours=8), every=5 * MINUTE, random=Random(1), lost=lost)
        recorded = {dataset.dataset_id: dataset for dataset in simulation.tables.datasets.scan()}
        return ids, [each for each in ids if recorded[each].ended_at is None]

    ids, without_end = simulate(scenario)

    assert ids
    assert not without_end


def test_a_killed_run_loses_no_dataset_and_no_end() -> None:
    """The tick that queues is killed after each of its calls."""

    async def scenario(loop: SimulatedLoop, calls: int) -> tuple[bool, set[str], set[str]]:
        simulation = await started(loop, Fuse(calls))
        was_killed = bool(simulation.tallies["Crashes"])
        await simulation.advance(TIMEOUT)
        await simulation.run_for(30 * MINUTE, every=MINUTE, random=Random(1), lost=0.5, skips_idle=True)
        [company] = simulation.backend.companies()
        history = simulation.backend.history(company.id, loop.clock())
        queued = {each.id for each in history if each.requested_by is RequestedBy.API and each.completed}
        ended = {each.dataset_id for each in simulation.tables.datasets.scan() if each.ended_at}
        return was_killed, queued, queued - ended

    for calls in range(300):
        was_killed, queued, lost = simulate(lambda loop, calls=calls: scenario(loop, calls))  # type: ignore[misc]
        assert queued
        assert not lost, calls
        if not was_killed:
            break
    assert calls > 20


def test_a_dataset_whose_run_was_killed_before_it_was_recorded_is_found_once_it_was_seen_to_run() -> None:
    async def scenario(loop: SimulatedLoop) -> tuple[list[str], list[FoundDataset]]:
        simulation = await started(loop)
        ids = running_ids(simulation)
        for dataset in list(simulation.tables.datasets.scan()):
            key = {"company_id": dataset.company_id, "dataset_id": dataset.dataset_id}
            simulation.tables.datasets._table.delete(key)
        await simulation.advance(SYNC - MINUTE)
        await check(simulation)
        return ids, [found(simulation, each) for each in ids]

    ids, datasets = simulate(scenario)

    assert ids
    assert [each.dataset.dataset_id for each in datasets] == ids
    assert {each.dataset.ended_at for each in datasets} == {None}


def test_the_command_line_says_whose_a_dataset_is_its_state_who_asked_for_it_and_what_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(loop: SimulatedLoop) -> list[str]:
        simulation = await started(loop)
        stack = SimpleNamespace(queries=Queries(services=simulation.services(Fuse())))
        monkeypatch.setattr(cli.dataset, "selected_stack", lambda _: stack)
        monkeypatch.setattr(cli.dataset, "clock", simulation.clock)
        printed, ids = [], running_ids(simulation)
        for arguments in ([ids[0]], [ids[0], "--json"], ["unknown"]):
            result = CliRunner().invoke(app, ["--region", "eu-west-2", "dataset", *arguments])
            printed.append(result.output)
        await simulation.advance(2 * SYNC)
        apply_webhooks(simulation)
        printed += [CliRunner().invoke(app, ["--region", "eu-west-2", "dataset", each]).output for each in ids]
        return printed

    running, as_json, unknown, *ended = simulate(scenario)

    assert "Plaid" in running
    assert "Asked by  the promise" in running
    assert "State     Initial, for " in running
    shown = json.loads(as_json)
    assert (shown["dataset"]["trigger"], shown["dataset"]["endedAt"]) == ("promise", None)
    assert unknown.startswith("freshness: No dataset 'unknown' is recorded.")
    assert all("Changed   yes, from 2026-11-23 " in each or "Changed   no" in each for each in ended)
    assert all("State     Complete, after 3 min" in each or "after 2 min" in each for each in ended)
