"""What the checks and the refreshes do in particular situations, in simulated time."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from itertools import count, pairwise
from random import Random
from typing import Any

import pytest

from codat_sandbox.model import ConnectionStatus
from codat_sandbox.platforms import FETCH_ON_FIRST_LINK, QUICKBOOKS_DESKTOP, XERO, DataType, Platform
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.app.operations import Operations
from freshness.aws.metrics import Metric
from freshness.codat.reachability import SEVERAL
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.codat_schedule import CodatSchedule
from freshness.planning.sync_durations import SyncDurations
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, TIMEOUT, Fuse, Simulation, reliable
from tests.builders import DAY, MINUTE, a_policy

SETTINGS = reliable(machine_offline=0)
ON_FIRST_LINK = set(XERO.data_types) & FETCH_ON_FIRST_LINK


def run(
    scenario: Callable[[Simulation], Coroutine[Any, Any, None]],
    *,
    platforms: tuple[Platform, ...] = (XERO,),
    fresh_within: str = "1 day",
    settings: Settings = SETTINGS,
) -> Simulation:
    """Run a scenario that begins with one company, whose first syncs have just ended and were reported."""

    async def main(loop: SimulatedLoop) -> Simulation:
        policy = a_policy(fresh_within)
        simulation = Simulation(loop, settings, policy)
        simulation.backend.add_company(platforms, loop.clock())
        await simulation.advance(MINUTE)
        await simulation.check(Fuse())
        assert simulation.deliver_all()
        simulation.calls.clear()
        simulation.tallies.clear()
        await scenario(simulation)
        return simulation

    return simulate(main)


def test_what_data_all_would_queue_is_queued_by_it_if_all_of_it_is_due() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.advance(DAY)
        await simulation.queue(Fuse())

    simulation = run(scenario)
    assert simulation.calls == {"POST data/all": 1, "GET data/history": 1}
    latest = {t.data_type: t.latest for t in simulation.backend.truth(simulation.loop.clock()) if t.latest}
    feeds = simulation.feeds()
    assert {feed.data_type for feed in feeds} == ON_FIRST_LINK
    for feed in feeds:
        dataset = latest[DataType(feed.data_type)]
        assert feed.in_flight
        assert (feed.in_flight.dataset_id, feed.in_flight.at) == (dataset.id, dataset.requested)
    assert simulation.tallies[Metric.REFRESHES_QUEUED] == len(feeds)


def test_data_all_is_not_used_where_it_would_queue_what_is_not_due() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.advance(DAY - timedelta(hours=1))
        feed = next(feed for feed in simulation.feeds() if feed.data_type == DataType.INVOICES)
        simulation.refresh_by_others(feed.company_id, DataType.INVOICES, feed.connection_id)
        await simulation.advance(timedelta(hours=1))
        assert simulation.deliver_all()
        await simulation.queue(Fuse())

    simulation = run(scenario)
    assert simulation.calls == {"POST data/queue/": len(ON_FIRST_LINK) - 1}


def test_where_what_data_all_queued_cannot_be_read_the_next_tick_reads_it_again() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.advance(DAY)
        simulation.sandbox.stubs.add(StubResponse(path="*/data/history", status=200, body="<html>", times=1))
        await simulation.queue(Fuse())
        assert not any(feed.in_flight for feed in simulation.feeds())
        await simulation.advance(MINUTE)
        await simulation.queue(Fuse())

    simulation = run(scenario)
    assert simulation.calls == {"POST data/all": 1, "GET data/history": 2}
    latest = {t.data_type: t.latest for t in simulation.backend.truth(simulation.loop.clock()) if t.latest}
    for feed in simulation.feeds():
        assert feed.last_dataset
        assert feed.last_dataset.dataset_id == latest[DataType(feed.data_type)].id


def test_data_all_is_called_at_most_once_and_nothing_queued_twice_if_a_tick_is_killed_after_any_call() -> None:
    for calls in count():

        async def scenario(simulation: Simulation, calls: int = calls) -> None:
            await simulation.advance(DAY)
            await simulation.queue(Fuse(calls))
            await simulation.advance(TIMEOUT + timedelta(seconds=1))
            await simulation.queue(Fuse())
            await simulation.queue(Fuse())

        simulation = run(scenario)
        assert simulation.calls["POST data/all"] <= 1
        assert not simulation.queued_again
        assert {feed.requests_on(simulation.clock().date()) for feed in simulation.feeds()} == {1}
        requests = [t.latest for t in simulation.backend.truth(simulation.loop.clock()) if t.latest]
        known = {feed.last_dataset.dataset_id for feed in simulation.feeds() if feed.last_dataset}
        assert known <= {d.id for d in requests}
        if not simulation.tallies["Crashes"]:
            break
    assert calls > 10


def test_an_operators_request_survives_a_refusal() -> None:
    async def scenario(simulation: Simulation) -> None:
        request_refresh(simulation, DataType.INVOICES)
        simulation.sandbox.stubs.add(StubResponse(method="POST", path="*/invoices", status=400, body="{}", times=1))
        for _ in range(3):
            await simulation.queue(Fuse())
            await simulation.advance(MINUTE)

    simulation = run(scenario)
    assert simulation.calls["POST data/queue/"] == 2
    [invoices] = [feed for feed in simulation.feeds() if feed.data_type == DataType.INVOICES]
    assert invoices.last_dataset
    assert invoices.last_dataset.trigger is Trigger.OPERATOR


def test_a_refresh_whose_response_cannot_be_read_is_not_queued_again() -> None:
    async def scenario(simulation: Simulation) -> None:
        request_refresh(simulation, DataType.INVOICES)
        simulation.sandbox.stubs.add(
            StubResponse(method="POST", path="*/invoices", status=200, body="<html>", carry_out=True)
        )
        await simulation.queue(Fuse())
        await simulation.queue(Fuse())
        await simulation.advance(5 * MINUTE)
        await simulation.queue(Fuse())
        await simulation.check(Fuse())

    simulation = run(scenario)
    assert simulation.calls["POST data/queue/"] == 1
    assert simulation.tallies[Metric.REFRESHES_FOUND_BY_CHECK] == 1


def request_refresh(simulation: Simulation, data_type: DataType) -> None:
    """Request a refresh as an operator does."""
    [company] = simulation.tables.companies.scan()
    feeds = [feed for feed in simulation.feeds() if feed.data_type == data_type]
    Operations(services=simulation.services(Fuse()), actor=OPERATOR).request_refreshes(company, feeds)


def test_after_a_refusal_the_same_request_is_not_sent_again_at_once() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.advance(DAY)
        simulation.sandbox.stubs.add(StubResponse(method="POST", path="*", status=400, body="{}", times=99))
        await simulation.queue(Fuse())
        await simulation.queue(Fuse())

    simulation = run(scenario)
    assert simulation.calls == {"POST data/all": 1, "POST data/queue/": len(ON_FIRST_LINK)}
    assert all(feed.is_failing for feed in simulation.feeds())


def test_a_tick_soon_ends_while_codat_is_down() -> None:
    async def scenario(simulation: Simulation) -> None:
        for _ in range(30):
            simulation.backend.add_company((XERO,), simulation.loop.clock())
        await simulation.check(Fuse())
        simulation.is_down = True
        before = simulation.loop.clock()
        await simulation.queue(Fuse())
        assert simulation.loop.clock() - before < timedelta(seconds=10)
        assert simulation.tallies[Metric.QUEUEING_FAILED] <= 4 * SEVERAL

    run(scenario, fresh_within="4 minutes")


def test_the_companies_are_listed_every_15_minutes_although_ticks_start_early_or_late() -> None:
    """Check ticks start every five minutes, give or take up to 20 seconds."""
    listed_at: list[timedelta] = []

    async def scenario(simulation: Simulation) -> None:
        random, start = Random(0), simulation.loop.clock()
        for tick in range(40):
            at = start + tick * timedelta(minutes=5) + timedelta(seconds=random.uniform(20, 60))
            await simulation.advance(at - simulation.loop.clock())
            before = simulation.calls["GET "]
            await simulation.check(Fuse(), listing=None)
            if simulation.calls["GET "] > before:
                listed_at.append(simulation.loop.clock() - start)

    run(scenario)
    between = [later - earlier for earlier, later in pairwise(listed_at)]
    assert len(between) > 10
    assert all(abs(each - timedelta(minutes=15)) < timedelta(minutes=1) for each in between)


@pytest.mark.parametrize("is_read", [False, True], ids=["nothing", "one data type"])
def test_a_connection_that_nothing_was_read_from_for_four_weeks_is_kept_alive_by_its_quickest_type(
    is_read: bool,
) -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.advance(20 * DAY)
        if is_read:
            feed = simulation.feeds()[0]
            simulation.refresh_by_others(feed.company_id, DataType(feed.data_type), feed.connection_id)
        await simulation.advance(7 * DAY)
        await simulation.check(Fuse())
        await simulation.queue(Fuse())
        assert not simulation.calls["POST data/queue/"]
        await simulation.advance(2 * DAY)
        for _ in range(2):
            await simulation.check(Fuse())
            await simulation.queue(Fuse())

    simulation = run(scenario, fresh_within="52 weeks")
    assert simulation.calls["POST data/queue/"] == simulation.tallies[Metric.CONNECTIONS_KEPT_ALIVE] == (not is_read)
    if is_read:
        return
    (feed,) = [feed for feed in simulation.feeds() if feed.in_flight]
    assert feed.last_dataset
    assert feed.last_dataset.trigger is Trigger.KEEP_ALIVE


def test_a_refresh_by_others_is_found_and_counted() -> None:
    async def scenario(simulation: Simulation) -> None:
        feed = next(feed for feed in simulation.feeds() if feed.data_type == DataType.INVOICES)
        theirs = simulation.refresh_by_others(feed.company_id, DataType.INVOICES, feed.connection_id)
        await simulation.advance(DAY + MINUTE)
        await simulation.check(Fuse())
        feed = next(feed for feed in simulation.feeds() if feed.data_type == DataType.INVOICES)
        assert feed.end
        assert feed.end.dataset_id == theirs.id

    assert run(scenario, fresh_within="1 week").tallies[Metric.REFRESHES_BY_OTHERS] == 1


def test_a_refresh_by_others_that_a_webhook_reports_is_counted_too() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.advance(5 * MINUTE)
        feed = next(feed for feed in simulation.feeds() if feed.data_type == DataType.INVOICES)
        simulation.refresh_by_others(feed.company_id, DataType.INVOICES, feed.connection_id)
        await simulation.advance(MINUTE)
        assert simulation.deliver_all()

    assert run(scenario).tallies[Metric.REFRESHES_BY_OTHERS] == 1


def test_a_company_that_was_never_linked_is_not_polled() -> None:
    async def scenario(simulation: Simulation) -> None:
        (company,) = simulation.backend.companies()
        simulation.backend.delete_connection(company.id, company.connections[0].id, simulation.loop.clock())
        pending = simulation.backend.add_connection(company.id, XERO, simulation.loop.clock())
        for _ in range(2):  # The list must lack the other connection twice.
            await simulation.check(Fuse())
            await simulation.advance(15 * MINUTE)
        simulation.calls.clear()
        for _ in range(3):
            await simulation.check(Fuse())
            await simulation.advance(DAY)
        assert not simulation.calls["GET dataStatus"]
        assert not simulation.feeds()
        simulation.backend.set_connection_status(
            company.id, pending.id, ConnectionStatus.LINKED, simulation.loop.clock()
        )
        await simulation.advance(MINUTE)
        await simulation.check(Fuse())
        assert {feed.data_type for feed in simulation.feeds()} == ON_FIRST_LINK

    run(scenario)


def test_codats_own_schedule_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(simulation: Simulation) -> None:
        simulation.tallies.clear()
        for _ in range(3):
            await simulation.advance(DAY)
            await simulation.check(Fuse())
        read_at = simulation.tables.control.read(CodatSchedule).read_at
        assert read_at
        assert simulation.clock() - read_at < MINUTE
        assert simulation.tables.control.read(CodatSchedule).hours == {"invoices": 24}
        assert not simulation.tallies[Metric.DOUBLED_SCHEDULES]
        doubled = {DataType.INVOICES: 24, DataType.BILLS: 12}
        simulation.backend.change_settings(
            SETTINGS.model_copy(update={"sync_schedule": doubled}), simulation.loop.clock()
        )
        await simulation.advance(DAY)
        await simulation.check(Fuse())

    simulation = run(scenario, settings=SETTINGS.model_copy(update={"sync_schedule": {DataType.INVOICES: 24}}))
    assert simulation.tallies[Metric.DOUBLED_SCHEDULES] == 2
    # Once for the first, before the scenario begins, and once more when there are others.
    assert len([message for message in caplog.messages if "each is read twice" in message]) == 2


def test_a_data_type_of_a_product_that_the_account_reads_on_first_link_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(loop: SimulatedLoop) -> Simulation:
        products = {"model": {"data_types": ["invoices", "payments"]}}
        policy = a_policy("1 day", products=products)
        simulation = Simulation(loop, SETTINGS, policy)
        for _ in range(4):
            await simulation.check(Fuse())
            await simulation.advance(DAY)
        return simulation

    simulation = simulate(scenario)

    assert simulation.tallies[Metric.DOUBLED_SCHEDULES] == 1
    [warning] = [vars(record) for record in caplog.records if "each is read twice" in record.getMessage()]
    assert warning["data_types"] == ["invoices"]


def test_a_machine_that_is_offline_for_days_causes_few_calls() -> None:
    async def scenario(simulation: Simulation) -> None:
        (company,) = simulation.backend.companies()
        simulation.backend.change_connection(
            company.id, company.connections[0].id, simulation.loop.clock(), machine_online=False
        )
        await simulation.run_for(3 * DAY, every=5 * MINUTE, random=Random(0), skips_idle=True)
        simulation.backend.change_connection(
            company.id, company.connections[0].id, simulation.loop.clock(), machine_online=True
        )
        await simulation.run_for(MINUTE, every=MINUTE, random=Random(0))
        assert not any(feed.is_failing or feed.in_flight for feed in simulation.feeds())

    simulation = run(scenario, platforms=(QUICKBOOKS_DESKTOP,))
    assert simulation.calls["POST data/all"] + simulation.calls["POST data/queue/"] <= 4
    assert simulation.calls["GET dataStatus"] <= 50


def test_how_long_syncs_take_is_learned_without_any_webhook() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.run_for(2 * DAY, every=MINUTE, random=Random(0), lost=1, skips_idle=True)

    took = timedelta(seconds=90)
    settings = SETTINGS.model_copy(update={"sync_time_min": took, "sync_time_max": took})
    simulation = run(scenario, settings=settings, fresh_within="6 hours")
    typical = simulation.tables.control.read(SyncDurations).typical("Xero", "invoices")
    assert typical
    assert abs(typical - took) < timedelta(seconds=5)
    invoices = next(feed for feed in simulation.feeds() if feed.data_type == "invoices")
    assert abs(invoices.usual_sync_time - took) < timedelta(seconds=25)


def test_a_company_whose_webhooks_arrive_is_hardly_ever_polled() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.run_for(3 * DAY, every=5 * MINUTE, random=Random(0), skips_idle=True)

    simulation = run(scenario, fresh_within="12 hours")
    assert simulation.tallies[Metric.REFRESHES_QUEUED] >= 5 * len(ON_FIRST_LINK)
    # Where a tick asked how each read of a day ended before its webhook came, what others read is not known.
    assert simulation.calls["GET dataStatus"] <= 1


async def in_flight(simulation: Simulation, *, after: timedelta) -> set[str]:
    """Return the data types that are in flight after a tick at a time."""
    await simulation.advance(after)
    await simulation.queue(Fuse())
    return {feed.data_type for feed in simulation.feeds() if feed.in_flight}


def test_a_pause_of_a_company_with_an_end_is_over_without_anyone_doing_anything() -> None:
    async def scenario(simulation: Simulation) -> None:
        [company] = simulation.tables.companies.scan()
        pause = Pause(until=simulation.clock() + 3 * DAY, reason="audit")
        Operations(services=simulation.services(Fuse()), actor=OPERATOR).pause(company, pause)
        for _ in range(35):
            assert await in_flight(simulation, after=DAY / 12) == set()
        assert await in_flight(simulation, after=DAY / 12) == ON_FIRST_LINK

    run(scenario)


def test_a_pause_that_is_given_an_earlier_end_ends_then() -> None:
    async def scenario(simulation: Simulation) -> None:
        operations = Operations(services=simulation.services(Fuse()), actor=OPERATOR)
        for until in (None, simulation.clock() + 100 * DAY, simulation.clock() + 6 * DAY):
            [company] = simulation.tables.companies.scan()
            operations.pause(company, Pause(until=until))
            for _ in range(4):
                assert await in_flight(simulation, after=DAY / 2 - MINUTE) == set()
        assert await in_flight(simulation, after=12 * MINUTE) == ON_FIRST_LINK

    run(scenario)


def test_a_pause_of_everything_ends_by_itself() -> None:
    async def scenario(simulation: Simulation) -> None:
        simulation.tables.control.pause(Pause(until=simulation.clock() + 2 * DAY))
        assert await in_flight(simulation, after=2 * DAY - MINUTE) == set()
        assert await in_flight(simulation, after=MINUTE) == ON_FIRST_LINK

    run(scenario)
