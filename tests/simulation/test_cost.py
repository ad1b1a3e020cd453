"""What a steady state costs."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from codat_sandbox.platforms import XERO, DataType
from codat_sandbox.settings import Settings
from freshness.app.operations import Operations
from freshness.aws.metrics import Metric
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation

Feed = tuple[str, str]
POLICY = Policy.model_validate(
    {
        "default": {"fresh_within": "1 day"},
        "data_types": {
            "invoices": {"fresh_within": "6 hours"},
            "balanceSheet": {"fresh_within": "1 week"},
            "banking-transactions": {"fresh_within": "4 hours"},
            "commerce-orders": {"fresh_within": "1 hour"},
        },
    }
)
SIX_HOURS = Policy.model_validate({"default": {"fresh_within": "6 hours"}})


def test_a_steady_state_with_healthy_webhooks_keeps_its_promises_at_hardly_more_than_one_call_for_each_refresh(
    capsys: pytest.CaptureFixture[str],
) -> None:
    companies = 80

    async def run(loop: SimulatedLoop) -> tuple[Simulation, int]:
        simulation = Simulation(loop, Settings(companies=companies, fails_first=0.02), POLICY)
        every, random = timedelta(minutes=1), Random(1)
        await simulation.run_for(timedelta(hours=2), every=every, random=random)
        for counts in (simulation.calls, simulation.tallies, simulation.published):
            counts.clear()
        writes = simulation.writes
        await simulation.run_for(timedelta(days=1), every=every, random=random)
        return simulation, simulation.writes - writes

    simulation, writes = simulate(run)
    calls, broken, hindered = simulation.calls, _broken(simulation), _hindered(simulation)
    refreshes = simulation.tallies[Metric.REFRESHES_QUEUED]
    with capsys.disabled():
        print(
            f"\n{companies} companies, a day: {refreshes} refreshes, {calls.total()} calls of Codat, that is"
            f" {calls.total() / refreshes:.3f} for each refresh, and {writes / refreshes:.2f} writes; {dict(calls)};"
            f" {len(broken)} promises broken, {len(broken - hindered)} of them where Codat could read"
        )
    assert calls.total() <= 1.1 * refreshes
    assert broken <= hindered


def _broken(simulation: Simulation) -> set[Feed]:
    """Return the connections and data types whose promise was published as broken, as event ids name them."""
    events = (event_id.split("/") for event_id in simulation.published if "/broken/" in event_id)
    return {(connection_id, data_type) for connection_id, data_type, *_ in events}


def _hindered(simulation: Simulation) -> set[Feed]:
    """The connections and data types that Codat cannot read: a person must act, or a machine is offline."""
    truths = simulation.backend.truth(simulation.loop.clock())
    return {(truth.connection.id, str(truth.data_type)) for truth in truths if truth.obstacle}


@pytest.mark.parametrize(("lost", "at_most"), [(0.0, 1.01), (1.0, 1.7)])
def test_data_types_due_soon_after_each_other_are_refreshed_together_once_no_webhook_reports_their_ends(
    lost: float, at_most: float
) -> None:
    """One call then tells how both refreshes end."""
    settings = Settings(companies=0, sync_schedule={}, fails_first=0, fails_later=0, not_supported=0, machine_offline=0)
    minute, two_types = timedelta(minutes=1), replace(XERO, data_types=(DataType.BILLS, DataType.INVOICES))

    async def run(loop: SimulatedLoop) -> float:
        simulation, random = Simulation(loop, settings, SIX_HOURS), Random(1)
        simulation.backend.add_company((two_types,), loop.clock())
        await simulation.run_for(20 * minute, every=minute, random=random, lost=lost)
        feeds = simulation.feeds()
        [company] = simulation.tables.companies.scan()
        Operations(services=simulation.services(Fuse()), actor=OPERATOR).request_refreshes(company, feeds[:1])
        await simulation.run_for(timedelta(hours=6), every=minute, random=random, lost=lost, skips_idle=True)
        simulation.calls.clear()
        before = simulation.tallies[Metric.REFRESHES_QUEUED]
        await simulation.run_for(timedelta(days=1), every=minute, random=random, lost=lost, skips_idle=True)
        refreshes = simulation.tallies[Metric.REFRESHES_QUEUED] - before
        assert not _broken(simulation)
        assert 8 <= refreshes <= 9
        return sum(number for name, number in simulation.calls.items() if name != "GET ") / refreshes

    assert simulate(run) <= at_most
