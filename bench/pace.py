"""How many of the calls that are allowed a tick makes while more feeds are due than it can queue.

The deployed tick runs in simulated time, each minute as its schedule starts it. Codat responds after a second.
"""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import httpx

from bench import fleet
from bench.figures import Figure, Topic, show, without_logs
from bench.parts import codat_at, services
from estimate.memory_dynamodb import tables_in_memory
from freshness.app.queue_refreshes import queue_refreshes
from freshness.app.tick import run_tick
from freshness.aws.event_bus import EventBus
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import TIMEOUT

MINUTE = timedelta(minutes=1)
LATENCY = 1.0
"""Seconds."""
MINUTES = 5
LIMITS = (600, 1_000)
"""Calls a minute: as usual, and all that Codat allows."""


class _NoEvents:
    """A client for EventBridge that drops what is published."""

    def put_events(self, **_: Any) -> dict[str, int]:
        return {"FailedEntryCount": 0}


async def _pace(limit: int, loop: SimulatedLoop) -> dict[str, float]:
    """Return the calls a minute, while a tick runs and over all minutes."""
    policy = Policy.model_validate({"default": {"fresh_within": "6 hours"}, "budget": {"calls_per_minute": limit}})
    tables = tables_in_memory()
    for number in range(limit * (MINUTES + 1) // len(fleet.DATA_TYPES)):
        company = tables.companies.put(fleet.company(number))
        for feed in fleet.due_feeds(company, policy):
            tables.feeds.put(feed)
    calls = Counter[str]()

    async def respond(request: httpx.Request) -> httpx.Response:
        calls[request.method] += 1
        await asyncio.sleep(LATENCY)
        now = loop.clock()
        dataset = fleet.queued_response(request).json() | {"requested": now.isoformat()}
        return httpx.Response(200, json=dataset, headers={"Date": f"{now:%a, %d %b %Y %H:%M:%S} GMT"})

    codat, bus = codat_at("https://codat", transport=httpx.MockTransport(respond)), EventBus(cast(Any, _NoEvents()), "")
    began, ran = loop.time(), 0.0
    while loop.time() - began < MINUTES * 60:
        started = loop.time()
        made = services(tables, bus, policy, loop.clock, codat)
        await run_tick(made, queue_refreshes, uuid4().hex, TIMEOUT)
        ran += loop.time() - started
        await asyncio.sleep(60 - loop.time() % 60)
    return {"while a tick runs": 60 * calls["POST"] / ran, "with a backlog": 60 * calls["POST"] / (loop.time() - began)}


def measure() -> list[Figure]:
    """Measure the pace with both limits."""
    with without_logs():
        paces = {limit: simulate(lambda loop, limit=limit: _pace(limit, loop), fleet.NOW) for limit in LIMITS}  # type: ignore[misc]
    return [
        Figure(
            what=f"calls a minute {when}, {limit:,} allowed, Codat responds in {LATENCY:g} s",
            topic=Topic.SCALE,
            value=calls,
            unit="calls",
            against="budget.calls_per_minute",
            floor=limit,
            at_least=0.95 if when == "while a tick runs" else None,
        )
        for limit, pace in paces.items()
        for when, calls in pace.items()
    ]


if __name__ == "__main__":
    show("Pace", measure())
