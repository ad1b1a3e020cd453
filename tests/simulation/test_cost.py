"""What a steady state costs."""

from collections import Counter
from datetime import timedelta
from random import Random

import pytest

from freshness.policy import Policy
from local.codat_sandbox.settings import Settings
from tests.simulated_time import SimulatedLoop, simulate
from tests.simulation.simulated_loop import Simulation

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


def test_a_steady_state_with_healthy_webhooks_costs_hardly_more_than_one_call_for_each_refresh(
    capsys: pytest.CaptureFixture[str],
) -> None:
    companies = 500

    async def run(loop: SimulatedLoop) -> tuple[Counter[str], Counter[str], int]:
        simulation = Simulation(loop, Settings(companies=companies, fails_first=0.02), POLICY)
        every, random = timedelta(minutes=1), Random(1)
        await simulation.run_for(timedelta(hours=2), every=every, random=random)
        calls, tallies, writes = Counter(simulation.calls), Counter(simulation.tallies), simulation.writes
        await simulation.run_for(timedelta(days=1), every=every, random=random)
        return simulation.calls - calls, simulation.tallies - tallies, simulation.writes - writes

    calls, tallies, writes = simulate(run)
    refreshes = tallies["RefreshesQueued"]
    with capsys.disabled():
        print(
            f"\n{companies} companies, a day: {refreshes} refreshes, {calls.total()} calls of Codat, that is"
            f" {calls.total() / refreshes:.3f} for each refresh, and {writes / refreshes:.2f} writes; {dict(calls)};"
            f" {tallies['PromisesBroken']} promises broken"
        )
    assert calls.total() <= 1.1 * refreshes
