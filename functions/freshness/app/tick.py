"""What both ticks share: a lease against overlapping runs, the time limit, and the metrics of what ended a run."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from freshness.app.services import Services
from freshness.aws.metrics import LOW_QUOTA, Metric
from freshness.codat.errors import AccountLimit, CodatError, Forbidden, RateLimited, Unauthorized
from freshness.domain.api_limits import ApiLimits

_STOPS = {
    Unauthorized: Metric.CODAT_REFUSED_ACCESS,
    Forbidden: Metric.CODAT_REFUSED_ACCESS,
    AccountLimit: Metric.CODAT_REFUSED_ACCESS,
    RateLimited: Metric.CODAT_LIMITED_CALLS,
}
TIME_TO_FINISH = timedelta(seconds=30)
"""How long before its timeout a tick starts no more work: a call and its repeat may take `CALL_TIMEOUT` each."""
EARLY = timedelta(minutes=1)
"""Schedules start ticks some seconds early or late."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A tick that holds its lease. `until` is when to leave the rest to the next tick."""

    until: datetime
    unfinished_since: datetime | None
    """When the earlier runs began that were killed or failed, if the last one did: its calls may not be recorded."""


@contextmanager
def exclusive_run(services: Services, name: str, owner: str, remaining: timedelta) -> Iterator[Run | None]:
    """Hold the lease of a tick while it runs. Yield `None` if another run holds the lease.

    `owner` identifies the run, and `remaining` is the time until Lambda ends it. A run that fails gives its lease back
    as expired, so that the next run learns of it.
    """
    control, now = services.tables.control, services.clock()
    ends_at = now + remaining
    unfinished_since = control.unfinished_since(name)
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


def is_due(last_done: datetime | None, every: timedelta, now: datetime) -> bool:
    """Return whether work that ticks do at an interval is due. It may be done up to `EARLY` before."""
    return last_done is None or last_done + every <= now + EARLY


def stops(errors: Iterable[CodatError]) -> Counter[Metric]:
    """Return the metrics of the errors because of which no further call was made."""
    return Counter(metric for error in errors for kind, metric in _STOPS.items() if isinstance(error, kind))


def quota_left(limits: ApiLimits, now: datetime) -> dict[Metric, int]:
    """Return the metrics of Codat's daily quota, if Codat has reported it."""
    share = limits.share_left(now)
    if share is None:
        return {}
    percent = round(100 * share)
    return {Metric.QUOTA_LEFT: percent, Metric.QUOTA_NEARLY_SPENT: int(percent < LOW_QUOTA)}
