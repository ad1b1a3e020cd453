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
from freshness.aws.item_codec import SHARDS
from freshness.aws.metrics import Metric, emit

logger = Logger(service="queue_refreshes")


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> None:
    """Run one tick, unless another run holds the lease.

    It is over all feeds; or over one shard of them, if the schedule's input is `{"shard": "0"}` and the like.
    """
    shard = event.get("shard")
    if shard is not None and shard not in SHARDS:
        raise ValueError(f"there is no shard {shard!r}: have one schedule for each of {SHARDS}, or one without input")
    lease = "queue_refreshes" if shard is None else f"queue_refreshes {shard}"
    with exclusive_run(lease, context) as run:
        if run:
            asyncio.run(_queue(run, None if shard is None else str(shard), context.aws_request_id))


async def _queue(run: Run, shard: str | None, owner: str) -> None:
    recorder = deployed_recorder()
    shards = SHARDS if shard is None else (shard,)
    now = bootstrap.clock()
    # However many requests are open, half of the time is left for what the promises need.
    until = now + (run.until - now) / 2
    still_open = await asyncio.to_thread(EnsureFresh(recorder=recorder, clock=bootstrap.clock).sweep, until, shards)
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
            shards=shards,
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
    emit(measured, shard)
    logger.info("Tick of queue_refreshes ended", extra={"tally": measured})
    tick.failures.raise_temporary()
