"""What both scheduled functions share: a run that does not overlap another of its kind, and a client for Codat."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta

import httpx
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness import wiring
from freshness.codat import Codat
from freshness.metrics import Metric

TIME_TO_FINISH = timedelta(seconds=20)
"""How long before its time is up a tick takes on no more work."""
CALL_TIMEOUT = 10.0
"""Seconds that Codat has to answer one call."""


@contextmanager
def alone(name: str, context: LambdaContext) -> Iterator[datetime | None]:
    """Hold the lease of a tick for as long as it runs.

    Gives the time at which to leave the rest to the next tick, or `None` if another run holds the lease.
    """
    store, now = wiring.store(), wiring.clock()
    ends_at = now + timedelta(milliseconds=context.get_remaining_time_in_millis())
    owner = context.aws_request_id
    if not store.acquire(name, owner, until=ends_at, now=now):
        yield None
        return
    try:
        yield ends_at - TIME_TO_FINISH
    finally:
        store.release(name, owner)


@asynccontextmanager
async def codat() -> AsyncIterator[Codat]:
    """A client for Codat, for the length of a tick."""
    base_url = os.environ["CODAT_BASE_URL"]
    async with httpx.AsyncClient(base_url=base_url, timeout=CALL_TIMEOUT) as http:
        yield Codat(http, wiring.codat_api_key(), clock=wiring.clock)


def count(metrics: Metrics, tally: Mapping[Metric, int]) -> None:
    """Turn what was counted into metrics."""
    for name, value in tally.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
