"""What a caller who waits costs: calls of DynamoDB, writes that fail, and how soon the end is noticed."""

from datetime import timedelta

import pytest

from codat_sandbox.platforms import XERO
from estimate.memory_dynamodb import ConditionalCheckFailedException, MemoryDynamoDB
from freshness.app.ensure.accept import Ask, EnsureFresh, Progress
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation, reliable
from tests.builders import MINUTE, SECOND, a_policy

POLICY = a_policy("1 week")
SYNC = 20 * SECOND
SETTINGS = reliable(sync_time_min=SYNC, sync_time_max=SYNC, never_synced=0)
MOST_CALLS = 60
"""Of DynamoDB, for five feeds: 3 to record who asks, 38 to queue the reads and to record that they run and how they
end, 2 for each poll, and what it takes to accept and to end the request."""


async def ask(simulation: Simulation) -> tuple[Progress, timedelta]:
    """Wait 25 s for five data types as of now, and return the end and how long it took."""
    [company] = simulation.tables.companies.scan()
    data_types = tuple(sorted({feed.data_type for feed in simulation.feeds()}))[:5]
    simulation._dynamodb.calls.clear()
    ensure, now = EnsureFresh(services=simulation.services(Fuse())), simulation.clock()
    found, account = ensure.company(company.company_id)
    asked = Ask(data_types=data_types, not_before=now, deadline=now + 10 * MINUTE)
    progress = ensure.accept(found, account, asked, actor=OPERATOR)
    progress = await ensure.wait(progress, 25 * SECOND, 26 * SECOND)
    return progress, simulation.clock() - now


def test_a_caller_who_waits_for_five_feeds_makes_few_calls_and_no_write_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed: list[str] = []
    require = MemoryDynamoDB._require

    def note(dynamodb: MemoryDynamoDB, table: str, key: dict[str, object], condition: dict[str, object]) -> None:
        try:
            require(dynamodb, table, key, condition)
        except ConditionalCheckFailedException:
            failed.append(str(key))
            raise

    async def run(loop: SimulatedLoop) -> tuple[Simulation, Progress, timedelta]:
        simulation = Simulation(loop, SETTINGS, POLICY)
        # It reads the tables for a check of its own.
        monkeypatch.setattr(simulation, "_feeds_to_queue", lambda *_: iter(()))
        simulation.backend.add_company((XERO,), loop.clock())
        await simulation.check(Fuse())
        await simulation.queue(Fuse())
        for _ in range(4):
            await simulation.advance(5 * MINUTE)
            simulation.deliver_all()
            await simulation.check(Fuse())
            with monkeypatch.context() as patch:
                patch.setattr(MemoryDynamoDB, "_require", note)
                failed.clear()
                progress, took = await ask(simulation)
        return simulation, progress, took

    simulation, progress, took = simulate(run)

    assert progress.request.is_fresh
    assert took <= SYNC + 4 * SECOND
    assert failed == []
    assert simulation._dynamodb.calls.total() <= MOST_CALLS, simulation._dynamodb.calls
