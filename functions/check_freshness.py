"""Scheduled: finds out which companies there are, and how fresh the data of those due a check is."""

import asyncio
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app import exclusive_run
from freshness.app.check_freshness import Check
from freshness.app.webhook_heartbeat import is_silent
from freshness.aws import bootstrap
from freshness.aws.metrics import NAMESPACE, Metric, count
from freshness.codat.errors import AccountLimit, CodatError, Forbidden, RateLimited, Unauthorized

LIST_EVERY = timedelta(minutes=15)
LISTING = "list_companies"

logger = Logger(service="check_freshness")
metrics = Metrics(namespace=NAMESPACE, service="check_freshness")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> None:  # noqa: ARG001 - Lambda passes both
    """One tick."""
    with exclusive_run.alone("check_freshness", context) as until:
        if until and exclusive_run.codat_takes_calls():
            asyncio.run(_check(until, context.aws_request_id))
    count(metrics, {Metric.TICKS: 1})


async def _check(until: datetime, owner: str) -> None:
    async with exclusive_run.codat(until) as codat:
        check = Check(
            store=bootstrap.store(),
            codat=codat,
            bus=bootstrap.bus(),
            policy=bootstrap.informed_policy(),
            clock=bootstrap.clock,
            until=until,
        )
        await _list_companies(check, owner)
        done = await check.check_due()
    if is_silent(check.store, check.tally[Metric.REFRESHES_FOUND_BY_CHECK], bootstrap.clock()):
        check.tally[Metric.WEBHOOKS_SILENT] += 1
        logger.error("Refreshes end, but no webhook comes: see docs/webhooks.md, Silence")
    tally = check.tally | exclusive_run.stops(check.stopped_by)
    if not done and not check.stopped_by and not codat.is_down:
        tally[Metric.TICKS_CUT_SHORT] += 1
    count(metrics, tally | {Metric.CODAT_CALLS: codat.calls})
    logger.info("Checked", extra={"tally": dict(check.tally), "codat_calls": codat.calls})
    if check.failures:
        raise check.failures[0]


async def _list_companies(check: Check, owner: str) -> None:
    """List the companies every so often: a lease that is kept until its time is up serves as the timer."""
    now = bootstrap.clock()
    if not check.store.acquire(LISTING, owner, until=now + LIST_EVERY, now=now):
        return
    try:
        if not await check.list_companies():
            check.store.release(LISTING, owner)
        await check.read_sync_settings()
    except CodatError as error:
        check.store.release(LISTING, owner)
        check.tally[Metric.LISTING_FAILED] += 1
        if isinstance(error, (Unauthorized, Forbidden, AccountLimit, RateLimited)):
            check.stopped_by.append(error)
        logger.warning(
            "The list of companies could not be read; the next tick tries again",
            extra={"error": str(error)},
        )
