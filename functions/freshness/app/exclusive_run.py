"""A lease against overlapping runs of a tick, and the client for Codat of all functions that call it."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from ssl import SSLContext

import httpx
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.aws import bootstrap
from freshness.aws.metrics import LOW_QUOTA, Metric
from freshness.codat.client import Codat
from freshness.codat.errors import AccountLimit, CodatError, Forbidden, RateLimited, Unauthorized
from freshness.codat.http import CALL_TIMEOUT
from freshness.codat.pinned_http import PinnedAccount
from freshness.codat.rate_limiter import RateLimiter
from freshness.domain.api_limits import ApiLimits

_STOPS = {
    Unauthorized: Metric.CODAT_REFUSED_ACCESS,
    Forbidden: Metric.CODAT_REFUSED_ACCESS,
    AccountLimit: Metric.CODAT_REFUSED_ACCESS,
    RateLimited: Metric.CODAT_LIMITED_CALLS,
}
TIME_TO_FINISH = timedelta(seconds=30)
"""How long before its timeout a tick starts no more work: a call and its repeat may take `CALL_TIMEOUT` each."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A tick that holds its lease. `until` is when to leave the rest to the next tick."""

    until: datetime
    unfinished_since: datetime | None
    """When the earlier runs began that were killed or failed, if the last one did: its calls may not be recorded."""


@contextmanager
def exclusive_run(name: str, context: LambdaContext) -> Iterator[Run | None]:
    """Hold the lease of a tick while it runs. Yield `None` if another run holds the lease.

    A run that fails gives its lease back as expired, so that the next run learns of it.
    """
    control, now = bootstrap.tables().control, bootstrap.clock()
    ends_at = now + timedelta(milliseconds=context.get_remaining_time_in_millis())
    owner, unfinished_since = context.aws_request_id, control.unfinished_since(name)
    if not control.acquire(name, owner, until=ends_at, now=now, since=unfinished_since):
        logger.info("Skipped: another run holds the lease", extra={"lease": name})
        yield None
        return
    try:
        yield Run(until=ends_at - TIME_TO_FINISH, unfinished_since=unfinished_since)
    except BaseException:
        control.acquire(name, owner, until=now, now=now, since=unfinished_since)
        raise
    control.release(name, owner)


def codat_accepts_calls() -> bool:
    """Return whether Codat may be called now."""
    until = bootstrap.tables().control.api_limits().stopped_before(bootstrap.clock())
    if until:
        logger.warning("Codat accepts no calls", extra={"until": until.isoformat()})
    return until is None


@asynccontextmanager
async def codat_client(
    until: datetime, *, on_demand: bool = False, known: ApiLimits | None = None
) -> AsyncIterator[Codat]:
    """Yield a client for Codat, for a tick that lasts until `until`. A refused key is read again for the next tick.

    `on_demand` is whether its calls are made for callers who wait for fresh data, and `known` what Codat allows if that
    was read a moment ago.
    """
    limiter = RateLimiter(
        bootstrap.tables().control,
        clock=bootstrap.clock,
        until=until,
        calls_per_minute=bootstrap.policy().budget.calls_per_minute,
        on_demand=on_demand,
        known=known,
    )
    base_url = os.environ["CODAT_BASE_URL"]
    async with httpx.AsyncClient(base_url=base_url, timeout=CALL_TIMEOUT, verify=_ssl_context()) as http:
        account = _pinned_account(bootstrap.policy().codat.account)
        codat = Codat(http, bootstrap.codat_api_key(), clock=bootstrap.clock, limiter=limiter, account=account)
        try:
            yield codat
        finally:
            await limiter.finish()
    if codat.key_is_refused:
        bootstrap.codat_api_key(reload=True)


@cache
def _pinned_account(name: str) -> PinnedAccount | None:
    """Return the account of a name, with the keys that were seen to be of it, so that each is looked up once."""
    return PinnedAccount(name) if name else None


@cache
def _ssl_context() -> SSLContext:
    """Return what verifies Codat's certificate. To load the authorities takes longer than a call."""
    return httpx.create_ssl_context()


def stops(errors: Iterable[CodatError]) -> Counter[Metric]:
    """Return the metrics of the errors because of which no further call was made."""
    return Counter(metric for error in errors for kind, metric in _STOPS.items() if isinstance(error, kind))


def quota_left() -> dict[Metric, int]:
    """Return the metrics of Codat's daily quota, if Codat has reported it."""
    share = bootstrap.tables().control.api_limits().share_left(bootstrap.clock())
    if share is None:
        return {}
    percent = round(100 * share)
    return {Metric.QUOTA_LEFT: percent, Metric.QUOTA_NEARLY_SPENT: int(percent < LOW_QUOTA)}
