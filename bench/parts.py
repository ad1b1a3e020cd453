"""The parts of the functions, connected as their handlers do it, with a clock that always returns `NOW`."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache

import httpx

from bench.fleet import NOW
from freshness.app.queue_refreshes import RefreshTick
from freshness.app.queueing import Queueing
from freshness.app.record import Recorder
from freshness.aws.event_bus import EventBus
from freshness.aws.tables import Tables
from freshness.codat.client import Codat
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from local.settings import ROOT

UNTIL = NOW + timedelta(minutes=5)


@cache
def example_policy() -> Policy:
    """Return the policy file of this project."""
    return load(ROOT / "freshness.toml")


def recorder(tables: Tables, bus: EventBus, policy: Policy, clock: Callable[[], datetime] = lambda: NOW) -> Recorder:
    """Return a recorder for tables."""
    return Recorder(tables=tables, bus=bus, policy=policy, clock=clock)


async def run_refresh_tick(tables: Tables, codat: httpx.AsyncBaseTransport, bus: EventBus, policy: Policy) -> Queueing:
    """Run one tick of queue_refreshes, and return what it queued."""
    recording = recorder(tables, bus, policy)
    async with httpx.AsyncClient(transport=codat, base_url="https://api.codat.io") as http:
        client = Codat(http, "key", clock=lambda: NOW)
        queueing = Queueing(tables=tables, codat=client, recorder=recording, clock=lambda: NOW)
        tick = RefreshTick(
            tables=tables,
            queueing=queueing,
            recorder=recording,
            policy=policy,
            clock=lambda: NOW,
            until=UNTIL,
        )
        await tick.run()
    return queueing
