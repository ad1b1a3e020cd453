"""What both scheduled functions share: a run that does not overlap another of its kind, and a client for Codat."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta

import httpx
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.aws import bootstrap
from freshness.aws.metrics import Metric
from freshness.codat.client import CALL_TIMEOUT, Codat
from freshness.codat.errors import AccountLimit, CodatError, Forbidden, RateLimited, Unauthorized
from freshness.codat.rate_limiter import RateLimiter

_STOPS = {
    Unauthorized: Metric.CODAT_REFUSED_KEY,
    Forbidden: Metric.CODAT_REFUSED_KEY,
    AccountLimit: Metric.CODAT_REFUSED_ACCOUNT,
    RateLimited: Metric.CODAT_LIMITED_CALLS,
}
TIME_TO_FINISH = timedelta(seconds=20)
"""How long before its time is up a tick takes on no more work."""

logger = Logger(service="codat-freshness")


@contextmanager
def alone(name: str, context: LambdaContext) -> Iterator[datetime | None]:
    """Hold the lease of a tick for as long as it runs.

    Gives the time at which to leave the rest to the next tick, or `None` if another run holds the lease.
    """
    store, now = bootstrap.store(), bootstrap.clock()
    ends_at = now + timedelta(milliseconds=context.get_remaining_time_in_millis())
    owner = context.aws_request_id
    if not store.acquire(name, owner, until=ends_at, now=now):
        logger.info("Another run is still at work; this one leaves the work to it", extra={"lease": name})
        yield None
        return
    try:
        yield ends_at - TIME_TO_FINISH
    finally:
        store.release(name, owner)


def codat_takes_calls() -> bool:
    """Whether Codat may be called at all now."""
    stop = bootstrap.store().quota().no_call_before(bootstrap.clock())
    if stop:
        logger.warning("Codat takes no calls; the work waits", extra={"until": stop.isoformat()})
    return stop is None


@asynccontextmanager
async def codat(until: datetime) -> AsyncIterator[Codat]:
    """A client for Codat, for a tick that lasts until `until`. A key that was refused is read anew for the next."""
    pace = RateLimiter(
        bootstrap.store(),
        clock=bootstrap.clock,
        until=until,
        calls_per_minute=bootstrap.policy().budget.calls_per_minute,
    )
    async with httpx.AsyncClient(base_url=os.environ["CODAT_BASE_URL"], timeout=CALL_TIMEOUT) as http:
        client = Codat(http, bootstrap.codat_api_key(), clock=bootstrap.clock, pace=pace)
        yield client
        await pace.finish()
    if client.key_is_refused:
        bootstrap.codat_api_key(anew=True)


def stops(errors: Iterable[CodatError]) -> Counter[Metric]:
    """The metrics of the errors for which no further call was made."""
    return Counter(metric for error in errors for kind, metric in _STOPS.items() if isinstance(error, kind))


def quota_left() -> dict[Metric, int]:
    """The metric of Codat's daily quota, if Codat has told of it today."""
    left = bootstrap.store().quota().left(bootstrap.clock())
    return {} if left is None else {Metric.QUOTA_LEFT: round(100 * left)}
