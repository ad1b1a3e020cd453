"""Ticks without any webhook, over a few companies whose Codat is odd at times."""

from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from codat_sandbox.platforms import XERO, DataType
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.app.checking.check_freshness import check_freshness
from freshness.app.queue_refreshes import queue_refreshes
from freshness.app.reading.queries import Queries
from freshness.app.tick import TIME_TO_FINISH, run_tick
from freshness.aws.metrics import Metric
from freshness.domain.companies.company_facts import CheckNeeded, CompanyPaused
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed_values import State
from freshness.planning.decision import Reason
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from simulate.clock import START, SimulatedLoop, simulate
from simulate.loop import TIMEOUT, Fuse, Simulation
from tests.builders import HOUR, a_policy

POLICY = a_policy("1 day", data_types={"invoices": {"fresh_within": "1 hour"}})
SETTINGS = Settings(
    companies=4, sync_time_min=timedelta(0), sync_time_max=timedelta(0), needs_relink=0.25, machine_offline=0
)


def run(
    scenario: Callable[[Simulation], Coroutine[Any, Any, None]],
    settings: Settings = SETTINGS,
    policy: Policy = POLICY,
    start: datetime = START,
) -> Simulation:
    """Run a scenario that begins before the first tick."""

    async def main(loop: SimulatedLoop) -> Simulation:
        simulation = Simulation(loop, settings, policy)
        await scenario(simulation)
        return simulation

    return simulate(main, start)


def test_a_dry_run_queues_nothing() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.check(Fuse())
        simulation.calls.clear()
        await run_tick(replace(simulation.services(Fuse()), dry_run=True), queue_refreshes, "dry run", TIMEOUT)

    simulation = run(scenario)
    assert not simulation.calls
    assert not any(feed.in_flight for feed in simulation.feeds())


def test_a_dataset_that_already_runs_is_adopted() -> None:
    async def scenario(simulation: Simulation) -> None:
        company = simulation.backend.add_company((replace(XERO, data_types=(DataType.INVOICES,)),), START)
        await simulation.advance(3 * HOUR)
        await simulation.check(Fuse())
        await simulation.advance(HOUR)
        theirs = simulation.refresh_by_others(company.id, DataType.INVOICES, company.connections[0].id)
        await simulation.queue(Fuse())
        [adopted] = simulation.feeds()
        assert adopted.in_flight
        assert (adopted.in_flight.dataset_id, adopted.in_flight.trigger) == (theirs.id, Trigger.EXTERNAL)

    slow = SETTINGS.model_copy(
        update={"companies": 0, "sync_time_max": HOUR, "sync_time_min": HOUR, "not_supported": 0}
    )
    assert run(scenario, slow).tallies[Metric.DATASETS_ADOPTED] == 1


def test_a_company_that_the_key_may_not_read_does_not_keep_others_from_their_turn() -> None:
    async def scenario(simulation: Simulation) -> None:
        forbidden, *_ = simulation.backend.companies()
        for method in ("GET", "POST"):
            path = f"/companies/{forbidden.id}/*"
            simulation.sandbox.stubs.add(StubResponse(method=method, path=path, status=403, times=99))
        for _ in range(3):
            await simulation.check(Fuse())
            await simulation.queue(Fuse())
            await simulation.advance(timedelta(minutes=5))

        assert not simulation.tallies[Metric.CODAT_REFUSED_ACCESS]
        fleet = Queries(services=simulation.services(Fuse())).fleet(simulation.clock())
        can_be = {truth.company.id for truth in simulation.backend.truth(simulation.clock()) if truth.can_become_fresh}
        assert {feed.company_id for feed in fleet.feeds if feed.state is State.FRESH} == can_be - {forbidden.id}
        known = simulation.tables.companies.get(forbidden.id)
        assert known and known.check_at
        assert known.check_at > simulation.clock(), "polled again at once, though nothing has changed"

    run(scenario)


def test_an_answer_that_does_not_parse_leaves_the_feeds_as_they_were_and_the_tick_goes_on() -> None:
    async def scenario(simulation: Simulation) -> None:
        body = "<html>Bad gateway</html>"
        simulation.sandbox.stubs.add(StubResponse(path="/companies/*/dataStatus", status=200, body=body))
        await simulation.check(Fuse())
        failing = StubResponse(method="POST", path="/companies/*/data/queue/*", status=200, body=body)
        simulation.sandbox.stubs.add(failing)
        await simulation.queue(Fuse())

    counts = run(scenario).tallies
    assert (counts[Metric.CHECKS_FAILED], counts[Metric.COMPANIES_CHECKED]) == (1, SETTINGS.companies - 1)
    assert counts[Metric.QUEUEING_FAILED] == 1
    assert counts[Metric.REFRESHES_QUEUED]


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_company_that_codat_answers_404_for_twice_is_deleted_and_after_one_404_it_keeps_its_pause(
    is_deleted: bool,
) -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.check(Fuse())
        company, *_ = simulation.tables.companies.scan()
        simulation.recorder().record_company(company, CompanyPaused(pause=Pause()))
        simulation.recorder().record_company(company, CheckNeeded())
        if is_deleted:
            simulation.backend.delete_company(company.company_id, simulation.clock())
            simulation.pending.clear()
        else:
            path = f"/companies/{company.company_id}/dataStatus"
            simulation.sandbox.stubs.add(StubResponse(path=path, status=404))
        await simulation.check(Fuse())
        await simulation.advance(timedelta(minutes=15))
        await simulation.check(Fuse())

        known = simulation.tables.companies.get(company.company_id)
        assert known
        assert bool(known.deleted_at) is is_deleted
        assert known.pause
        assert bool(simulation.tables.feeds.of_company(company.company_id)) is not is_deleted
        await simulation.queue(Fuse())
        assert not simulation.tallies[Metric.CODAT_REFUSED_ACCESS]

    run(scenario)


def test_a_tick_whose_time_is_up_leaves_the_rest_of_the_list_to_the_next_which_finds_what_came_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("freshness.app.checking.list_companies.PAGE", 2)

    async def scenario(simulation: Simulation) -> None:
        await run_tick(simulation.services(Fuse()), check_freshness, "short", TIME_TO_FINISH)
        assert list(simulation.tables.companies.scan()) == []
        await simulation.check(Fuse())
        assert len(list(simulation.tables.companies.scan())) == SETTINGS.companies
        added = simulation.backend.add_company((XERO,), simulation.clock())
        await simulation.check(Fuse())
        assert simulation.tables.companies.get(added.id)

    run(scenario)


def test_a_wrong_key_stops_the_tick_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(simulation: Simulation) -> None:
        refused = StubResponse(path="/companies/*/dataStatus", status=401, body='{"correlationId": "c-1"}', times=9)
        simulation.sandbox.stubs.add(refused)
        await simulation.check(Fuse())

    counts = run(scenario).tallies
    assert counts[Metric.CODAT_CALLS] < 2 + SETTINGS.companies + 1
    assert counts[Metric.CODAT_REFUSED_ACCESS]
    assert any("c-1" in str(vars(record).get("error")) for record in caplog.records)


def test_rules_a_set_and_a_window_of_the_policy_that_ships_show_in_what_is_queued_and_why() -> None:
    nightly, noon = "commerce-disputes", START.replace(hour=12, minute=30)

    async def scenario(simulation: Simulation) -> None:
        for _ in range(3):
            await simulation.check(Fuse())
            await simulation.queue(Fuse())
            await simulation.advance(timedelta(minutes=2))
        await simulation.check(Fuse())

        fleet = Queries(services=simulation.services(Fuse())).fleet(simulation.clock())
        reasons, states = defaultdict(set), defaultdict(set)
        for feed in fleet.feeds:
            reasons[feed.data_type].add(feed.reason)
            states[feed.data_type].add(feed.state)
        places = {feed.rule.partition(" (")[0] for feed in fleet.feeds}
        assert {"[default]", "[data_types.invoices]", 'rule "free plan"'} <= places
        assert 'due with its set "financial statements"' in reasons["profitAndLoss"] | reasons["balanceSheet"]
        assert 'outside the window "disputes are read at night"' in reasons[nightly]
        assert states["taxRates"] == {State.OFF}
        assert {feed.data_type for feed in fleet.feeds if feed.state is State.STALE} <= {nightly}
        disputes = [feed for feed in simulation.feeds() if feed.data_type == nightly]
        assert not any(feed.in_flight for feed in disputes)

        await simulation.advance(11 * HOUR)
        await simulation.queue(Fuse())
        disputes = [feed for feed in simulation.feeds() if feed.data_type == nightly]
        assert any(feed.decided and feed.decided.reason == Reason.DUE for feed in disputes)

    settings = Settings(companies=8, sync_time_min=timedelta(0), sync_time_max=timedelta(0), fails_first=0)
    run(scenario, settings, load(Path(__file__).parents[2] / "freshness.toml"), noon)
