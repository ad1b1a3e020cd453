"""The functions' own parts, joined as their handlers join them, on a clock that stands still."""

from datetime import timedelta
from functools import cache

import httpx

from bench.fleet import NOW
from freshness.codat.client import Codat
from freshness.policy import Policy, load
from freshness.publish import Bus
from freshness.refresh import Refresh
from freshness.store import Store
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
