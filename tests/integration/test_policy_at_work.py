"""The policy that ships, at work on the sandbox's companies and real tables."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from codat_sandbox.server import running_sandbox
from codat_sandbox.settings import Settings
from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.feeds.feed_values import State
from freshness.planning.decision import Reason
from freshness.policy.loader import load
from tests.integration.test_loop import Loop

SETTINGS = Settings(companies=8, sync_time_min=timedelta(0), sync_time_max=timedelta(0), fails_first=0)
NIGHTLY = "commerce-disputes"


@pytest.fixture
def loop(tables: Tables) -> Iterator[Loop]:
    with running_sandbox(SETTINGS) as sandbox:
        loop = Loop(tables, sandbox)
        loop.policy = load(Path(__file__).parents[2] / "freshness.toml")
        yield loop


def ahead_to(hour: int) -> timedelta:
    """How far ahead it is that hour, in UTC, today or tomorrow."""
    now = datetime.now(UTC)
    then = now.replace(hour=hour, minute=30)
    return then - now if then > now else then + timedelta(days=1) - now


async def test_rules_a_set_and_a_window_show_in_what_is_queued_and_why(loop: Loop) -> None:
    loop.ahead = ahead_to(12)
    for _ in range(3):
        await loop.check()
        await loop.queue()
        loop.ahead += timedelta(minutes=2)
    await loop.check()

    fleet = Queries(services=loop.services()).fleet(loop.clock())
    reasons, states = defaultdict(set), defaultdict(set)
    for feed in fleet.feeds:
        reasons[feed.data_type].add(feed.reason)
        states[feed.data_type].add(feed.state)
    places = {feed.rule.partition(" (")[0] for feed in fleet.feeds}
    assert {"[default]", "[data_types.invoices]", 'rule "free plan"'} <= places
    assert 'due with its set "financial statements"' in reasons["profitAndLoss"] | reasons["balanceSheet"]
    assert 'outside the window "disputes are read at night"' in reasons[NIGHTLY]
    assert states["taxRates"] == {State.OFF}
    assert {feed.data_type for feed in fleet.feeds if feed.state is State.STALE} <= {NIGHTLY}


async def test_what_waited_for_its_window_is_queued_when_it_opens(loop: Loop) -> None:
    loop.ahead = ahead_to(12)
    await loop.check()
    await loop.queue()
    assert not any(feed.in_flight for feed, _ in loop.feeds() if feed.data_type == NIGHTLY)

    loop.ahead = ahead_to(12) + timedelta(hours=11)
    await loop.queue()

    assert any(
        feed.decided and feed.decided.reason == Reason.DUE for feed, _ in loop.feeds() if feed.data_type == NIGHTLY
    )
