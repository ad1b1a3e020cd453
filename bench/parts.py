"""The functions' services, with a clock that always returns `NOW`, and their ticks."""

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

import httpx

from bench.fleet import NOW
from freshness.app.queue_refreshes import queue_refreshes
from freshness.app.services import CodatAccess, Services
from freshness.app.tick import run_tick
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.aws.metrics import Metric
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from local.settings import ROOT
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import TIMEOUT


@cache
def example_policy() -> Policy:
    """Return the policy file of this project."""
    return load(ROOT / "freshness.toml")


def services(
    tables: Tables,
    bus: EventBus,
    policy: Policy,
    clock: Callable[[], datetime] = lambda: NOW,
    codat: CodatAccess | None = None,
    measured: Counter[Metric] | None = None,
) -> Services:
    """Return services over tables. What they emit is added to `measured`."""

    def emit(values: Mapping[Metric, int]) -> None:
        if measured is not None:
            measured.update(values)

    return Services(tables=tables, bus=bus, policy=policy, clock=clock, codat_access=codat, emit=emit)


def codat_at(url: str, key: str = "key", transport: httpx.AsyncBaseTransport | None = None) -> CodatAccess:
    """Return the access to Codat at an address."""
    return CodatAccess(base_url=url, key=lambda reload: key, transport=transport)  # noqa: ARG005 - it stays


def run_refresh_tick(tables: Tables, codat: httpx.AsyncBaseTransport, bus: EventBus, policy: Policy) -> Counter[Metric]:
    """Run one tick of queue_refreshes in simulated time, and return what it measured."""
    measured: Counter[Metric] = Counter()
    access = codat_at("https://api.codat.io", transport=codat)

    def tick(loop: SimulatedLoop) -> Coroutine[Any, Any, None]:
        return run_tick(
            services(tables, bus, policy, loop.clock, access, measured), queue_refreshes, uuid4().hex, TIMEOUT
        )

    simulate(tick, NOW)
    return measured
