"""The functions' own parts, joined as their handlers join them, on a clock that stands still."""

from datetime import timedelta
from functools import cache

import httpx

from bench.fleet import NOW
from freshness.app.queue_refreshes import Refresh
from freshness.aws.event_bus import Bus
from freshness.aws.store import Store
from freshness.codat.client import Codat
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from local.settings import ROOT

UNTIL = NOW + timedelta(minutes=5)


@cache
def example_policy() -> Policy:
    """The policy file of this project."""
    return load(ROOT / "freshness.toml")


async def queue_due(store: Store, codat: httpx.AsyncBaseTransport, bus: Bus, policy: Policy) -> Refresh:
    """One tick of queueing."""
    async with httpx.AsyncClient(transport=codat, base_url="https://api.codat.io") as http:
        refresh = Refresh(
            store=store,
            codat=Codat(http, "key", clock=lambda: NOW),
            bus=bus,
            policy=policy,
            clock=lambda: NOW,
            until=UNTIL,
        )
        await refresh.queue_due()
    return refresh
