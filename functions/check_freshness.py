"""Scheduled: lists the companies, and checks how fresh the data is of those that are due."""

import asyncio
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app.attainment import burn_percent
from freshness.app.check_freshness import FreshnessCheck
from freshness.app.exclusive_run import codat_accepts_calls, codat_client, exclusive_run, stops
from freshness.app.read_codat_schedule import read_codat_schedule
from freshness.app.record import deployed_recorder
from freshness.app.webhook_heartbeat import is_silent
from freshness.aws import bootstrap
from freshness.aws.metrics import TOO_FAST, Metric, emit
from freshness.codat.errors import AccountLimit, CodatError, Forbidden, RateLimited, Unauthorized

LIST_EVERY = timedelta(minutes=15)
LISTING = "list_companies"

logger = Logger(service="check_freshness")


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> None:  # noqa: ARG001 - Lambda passes both
    """Run one tick, unless another run holds the lease."""
    with exclusive_run("check_freshness", context) as run:
        if run:
            _measure()
        if run and codat_accepts_calls():
            asyncio.run(_check(run.until, context.aws_request_id))


def _measure() -> None:
    """Keep the records of attainment, and emit the burn rate of error budgets if it is too high."""
    tables, now = bootstrap.tables(), bootstrap.clock()
    tables.attainment.settle(now)
    measured = {Metric.BURN_RATE: burn_percent(tables, bootstrap.policy(), now)}
    if measured[Metric.BURN_RATE] >= TOO_FAST:
        emit(measured)
    logger.info("Attainment was measured", extra={"tally": measured})


async def _check(until: datetime, owner: str) -> None:
    recorder = deployed_recorder()
    async with codat_client(until) as codat:
        check = FreshnessCheck(
            tables=recorder.tables,
            codat=codat,
            recorder=recorder,
            policy=recorder.policy,
            clock=bootstrap.clock,
            until=until,
        )
        await _list_companies(check, owner)
        done = await check.check_due()
    recorder.write_collected()
    tally = check.tally + recorder.tally + check.failures.tally + stops(check.stopped_by)
    if is_silent(check.tables.control, check.tally[Metric.REFRESHES_FOUND_BY_CHECK], bootstrap.clock()):
        tally[Metric.WEBHOOKS_SILENT] += 1
        logger.error("Refreshes end, but no webhook arrives: see docs/webhooks.md, Silence")
    if not done and not check.stopped_by and not codat.is_down:
        tally[Metric.TICKS_CUT_SHORT] += 1
    measured = {**tally, Metric.CODAT_CALLS: codat.calls, Metric.RESPONSE_ITEMS_SKIPPED: codat.items_skipped}
    emit(measured)
    logger.info("Tick of check_freshness ended", extra={"tally": measured})
    check.failures.raise_temporary()


async def _list_companies(check: FreshnessCheck, owner: str) -> None:
    """List the companies every `LIST_EVERY`: a lease that is kept until it expires serves as the timer."""
    now, control = bootstrap.clock(), check.tables.control
    if not control.acquire(LISTING, owner, until=now + LIST_EVERY, now=now):
        return
    try:
        if not await check.list_companies():
            control.release(LISTING, owner)
        await read_codat_schedule(
            check.codat, check.tables.control, check.tally, bootstrap.clock(), check.policy.products_types
        )
    except CodatError as error:
        control.release(LISTING, owner)
        check.tally[Metric.LISTING_FAILED] += 1
        if isinstance(error, (Unauthorized, Forbidden, AccountLimit, RateLimited)):
            check.stopped_by.append(error)
        logger.warning(
            "The list of companies could not be read; the next tick tries again",
            extra={"error": str(error)},
        )
