"""`Promise broken`, compared with the truth at Codat when it is published, with any share of webhooks lost."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from codat_sandbox.settings import Settings
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Simulation
from tests.builders import HOUR, MINUTE, a_policy

POLICY = a_policy("3 hours", data_types={"bills": {"off": True}})
SETTINGS = Settings(
    companies=3,
    sync_time_min=timedelta(seconds=5),
    fails_first=0.1,
    fails_later=0.02,
    sync_schedule={},
    calls_per_minute=100_000,
)


@dataclass
class Watched(Simulation):
    """A simulation that compares each `Promise broken` with when Codat last read the data."""

    told: int = 0
    false: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.on_published = self.compare

    def compare(self, detail_type: str, detail: dict[str, Any]) -> None:
        """Compare an event with the truth."""
        if detail_type == "Promise broken":
            now = self.loop.clock()
            self.told += 1
            read_at = self._read_at(detail, now)
            if read_at and now < read_at + 3 * HOUR:
                self.false.append(detail["id"])

    def _read_at(self, detail: dict[str, Any], now: datetime) -> datetime | None:
        for truth in self.backend.truth(now):
            if (truth.connection.id, str(truth.data_type)) == (detail["connectionId"], detail["dataType"]):
                return truth.latest_successful.completed if truth.latest_successful else None
        return None


@pytest.mark.parametrize(
    ("lost", "longest_sync", "calls_each"),
    [(0.05, 4 * MINUTE, 1.6), (1.0, 4 * MINUTE, 2.4), (1.0, MINUTE, 2.05)],
    ids=str,
)
def test_no_promise_is_called_broken_while_it_is_kept_whatever_share_of_webhooks_is_lost(
    lost: float, longest_sync: timedelta, calls_each: float, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(loop: SimulatedLoop) -> Watched:
        simulation = Watched(loop, SETTINGS.model_copy(update={"sync_time_max": longest_sync}), POLICY)
        await simulation.run_for(2 * HOUR, every=MINUTE, random=Random(1), lost=lost, skips_idle=True)
        simulation.calls.clear()
        simulation.tallies.clear()
        simulation.told = 0
        await simulation.run_for(12 * HOUR, every=MINUTE, random=Random(1), lost=lost, skips_idle=True)
        return simulation

    simulation = simulate(run)
    refreshes = simulation.tallies["RefreshesQueued"]
    calls = simulation.calls.total() - simulation.calls["GET "]  # without lists of companies
    with capsys.disabled():
        print(
            f"\n{lost:.0%} of webhooks lost: {refreshes} refreshes, {calls / refreshes:.2f} calls for each,"
            f" {simulation.told} promises called broken, {len(simulation.false)} of them falsely"
        )
    assert refreshes > 80
    assert simulation.told
    assert simulation.false == []
    assert calls <= calls_each * refreshes
