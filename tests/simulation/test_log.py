"""What functions log at the level INFO, which Lambda sets for all loggers of the process."""

import logging
from datetime import timedelta
from random import Random

import pytest

from codat_sandbox.settings import Settings
from freshness.aws.clients import client
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Simulation
from tests.builders import a_policy

POLICY = a_policy("1 hour")


def test_no_library_logs_the_calls_that_functions_make(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(loop: SimulatedLoop) -> int:
        simulation = Simulation(loop, Settings(companies=2), POLICY)
        await simulation.run_for(timedelta(hours=2), every=timedelta(minutes=1), random=Random(1))
        return simulation.calls.total()

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with caplog.at_level(logging.INFO):
        calls = simulate(run)
        client("sqs")

    assert calls > 10
    ours = {"codat-freshness"}
    assert {record.name.partition(".")[0] for record in caplog.records} <= ours
