"""Scheduled: queues a refresh of every feed that is due."""

import asyncio
import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app.ensure_fresh import EnsureFresh
from freshness.app.exclusive_run import (
    Run,
    codat_accepts_calls,
    codat_client,
    exclusive_run,
    quota_left,
    stops,
)
from freshness.app.forecast import Forecast
from freshness.app.queue_refreshes import RefreshTick
from freshness.app.queueing import Queueing
from freshness.app.record import deployed_recorder
from freshness.aws import bootstrap
from freshness.aws.metrics import Metric, emit

logger = Logger(service="queue_refreshes")


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> None:  # noqa: ARG001 - Lambda passes both
    """Run one tick, unless another run holds the lease."""
    with exclusive_run("queue_refreshes", context) as run:
        if run:
            asyncio.run(_queue(run, context.aws_request_id))


async def _queue(run: Run, owner: str) -> None:
    recorder = deployed_recorder()
    now = bootstrap.clock()
    # However many requests are open, half of the time is left for what the promises need.
    until = now + (run.until - now) / 2
    still_open = await asyncio.to_thread(EnsureFresh(recorder=recorder, clock=bootstrap.clock).sweep, until)
    if still_open:
        logger.info("Requests for fresh data are open", extra={"requests": still_open})
    async with codat_client(run.until) as codat:
        queueing = Queueing(tables=recorder.tables, codat=codat, recorder=recorder, clock=bootstrap.clock)
        tick = RefreshTick(
            tables=recorder.tables,
            queueing=queueing,
            recorder=recorder,
            policy=recorder.policy,
            clock=bootstrap.clock,
            until=run.until,
            unfinished_since=run.unfinished_since,
            dry_run=os.environ["DRY_RUN"] == "true",
        )
        done = await tick.run(codat_accepts_calls)
    await asyncio.to_thread(Forecast(recorder=recorder, clock=bootstrap.clock).publish, owner, run.until)
    recorder.write_collected()
    tally = tick.tally + queueing.tally + recorder.tally + tick.failures.tally + stops(queueing.stopped_by)
    if not done and not queueing.stopped_by and not codat.is_down:
        tally[Metric.TICKS_CUT_SHORT] += 1
    calls = {Metric.CODAT_CALLS: codat.calls, Metric.RESPONSE_ITEMS_SKIPPED: codat.items_skipped}
    # Not a sum of counters, which would leave out zeros.
    measured = {**tally, **tick.metrics.measured, **quota_left(), **calls}
    emit(measured)
    logger.info("Tick of queue_refreshes ended", extra={"tally": measured})
    tick.failures.raise_temporary()
