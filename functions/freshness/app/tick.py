"""What both ticks share: a lease against overlapping runs, the time limit, and what failed for one company alone."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import TypeVar

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.services import Services
from freshness.aws.dynamodb.table import ContentionError
from freshness.aws.event_bus import NotPublished
from freshness.aws.metrics import LOW_QUOTA, Counts, Metric
from freshness.codat.errors import CodatError, RateLimited
from freshness.domain.api_limits import ApiLimits

TIME_TO_FINISH = timedelta(seconds=30)
"""A tick starts no more work this long before its timeout: a call and its repeat may take `CALL_TIMEOUT` each."""
WAITS_FOR = timedelta(seconds=45)
"""A run waits for a lease that ends within this time. A schedule starts a run a minute, so no two wait for the same."""
ASKS_EVERY = timedelta(seconds=1)
"""How often a run that waits looks whether the lease was given back."""
MAX_CONCURRENCY = 30
"""With Codat's latency of a second, thirty calls at once use the rate that it allows, and ten about half of it."""
LISTING = "list of companies"
"""The work of reading Codat's list of companies."""
EARLY = timedelta(minutes=1)
"""How early regular work may be done: schedules start ticks some seconds early or late."""
UNUSABLE = "A company's data cannot be stored"
"""The log message by which `doctor` finds companies whose data cannot be stored."""
_REFUSED_DATA = ("ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException")
"""DynamoDB's error codes for an item that it refuses because of its content, such as one of more than 400 KB."""

Thing = TypeVar("Thing")

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A tick that holds its lease. At `until` the rest is left to the next tick."""

    until: datetime
    unfinished_since: datetime | None
    """Set if the last run was killed or failed: when the first run of such a series began. Calls may be unrecorded."""


async def run_tick(
    services: Services, tick: Callable[[Services, Run], Awaitable[None]], owner: str, remaining: timedelta
) -> None:
    """Run a tick under the lease that has its name, unless another run holds the lease.

    If that run is about to end, or was killed and its lease is about to expire, wait for it. `owner` identifies the
    run, and `remaining` is the time until Lambda ends it. A run that fails gives its lease back as expired, so that the
    next run learns of it.
    """
    control, name, now = services.tables.control, tick.__name__, services.clock()
    ends_at = now + remaining
    while (unfinished := control.unfinished(name)) and now <= unfinished.until <= now + WAITS_FOR:
        await asyncio.sleep(ASKS_EVERY.total_seconds())
        now = services.clock()
    unfinished_since = unfinished.since if unfinished else None
    if not control.acquire(name, owner, until=ends_at, now=now, since=unfinished_since):
        logger.info("Skipped: another run holds the lease", extra={"lease": name})
        return
    try:
        await tick(services, Run(until=ends_at - TIME_TO_FINISH, unfinished_since=unfinished_since))
    except BaseException:
        control.acquire(name, owner, until=now, now=now, since=unfinished_since)
        raise
    control.release(name, owner)


def is_due(last_done: datetime | None, every: timedelta, now: datetime) -> bool:
    """Return whether work that ticks do at an interval is due. It is due up to `EARLY` before the interval ends."""
    return last_done is None or last_done + every <= now + EARLY


def stop_metrics(errors: Iterable[CodatError]) -> Counter[Metric]:
    """Return the metrics of the errors that stopped further calls."""
    return Counter(
        Metric.CODAT_LIMITED_CALLS if isinstance(error, RateLimited) else Metric.CODAT_REFUSED_ACCESS
        for error in errors
    )


def quota_left(limits: ApiLimits, now: datetime) -> dict[Metric, int]:
    """Return the metrics of Codat's daily quota, if Codat has reported it."""
    share = limits.share_left(now)
    if share is None:
        return {}
    percent = round(100 * share)
    return {Metric.QUOTA_LEFT: percent, Metric.QUOTA_NEARLY_SPENT: int(percent < LOW_QUOTA)}


def is_refused_data(error: ClientError) -> bool:
    """Return whether DynamoDB refused a call for the data in it, and not for its own state."""
    return error.response["Error"].get("Code") in _REFUSED_DATA


@dataclass(slots=True)
class Failures:
    """What failed in a tick. `counts` counts data that cannot be stored; `temporary` is the first other error."""

    counts: Counts
    temporary: NotPublished | ContentionError | BotoCoreError | ClientError | None = None

    @contextmanager
    def collected(self, subject: Mapping[str, str]) -> Iterator[None]:
        """Collect an error that ends the turn of `subject`: an outage, or data that cannot be stored."""
        try:
            yield
        except (NotPublished, ContentionError, BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and is_refused_data(error):
                self._add_unusable(error, subject)
                return
            logger.warning("Left to the next tick", extra={**subject, "error": str(error)})
            self.temporary = self.temporary or error
        except ValueError as error:
            self._add_unusable(error, subject)

    def _add_unusable(self, error: ValueError | ClientError, subject: Mapping[str, str]) -> None:
        logger.error(UNUSABLE, extra={**{name: ascii(value) for name, value in subject.items()}, "error": ascii(error)})
        self.counts.count(Metric.COMPANIES_UNUSABLE)

    def raise_temporary(self) -> None:
        """Raise the first error that is not about one company's data, so that the tick counts as failed."""
        if self.temporary:
            raise self.temporary


async def for_each(
    things: Iterable[Thing],
    work: Callable[[Thing], Awaitable[None]],
    *,
    max_concurrency: int,
    should_continue: Callable[[], bool],
) -> bool:
    """Await `work` for each thing, at most `max_concurrency` at a time, for as long as `should_continue()`.

    Things are taken one by one as they are needed. Return whether all of them were done.
    """
    remaining = iter(things)
    done = True

    async def worker(first: Thing) -> None:
        nonlocal done
        for thing in chain([first], remaining):
            if not should_continue():
                done = False
                return
            await work(thing)

    async with asyncio.TaskGroup() as workers:
        for thing in islice(remaining, max_concurrency):
            workers.create_task(worker(thing))
    return done
