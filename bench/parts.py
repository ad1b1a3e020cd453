"""The functions' own parts, joined as their handlers join them, on a clock that stands still."""

from collections.abc import Sequence
from datetime import timedelta

import httpx

from bench.fleet import NOW
from freshness.codat import Codat
from freshness.policy import Policy, load
from freshness.publish import Bus, News
from freshness.refresh import Refresh
from freshness.store import Store
from local.settings import ROOT


class Unheard(Bus):
    """A bus that nobody listens to: what is published on it costs nothing here."""

    def __init__(self) -> None:
        """Reach no EventBridge."""

    def publish(self, news: Sequence[News]) -> None:
        """Do nothing."""


UNTIL = NOW + timedelta(minutes=5)


def example_policy() -> Policy:
    """The policy file of this project."""
    return load(ROOT / "freshness.toml")


async def queue_due(store: Store, codat: httpx.AsyncBaseTransport, policy: Policy) -> Refresh:
    """One tick of queueing."""
    async with httpx.AsyncClient(transport=codat, base_url="https://api.codat.io") as http:
        refresh = Refresh(
            store=store,
            codat=Codat(http, "key", clock=lambda: NOW),
            bus=Unheard(),
            policy=policy,
            clock=lambda: NOW,
            until=UNTIL,
        )
        await refresh.queue_due()
    return refresh
