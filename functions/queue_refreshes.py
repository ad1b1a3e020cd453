"""Scheduled: queues a refresh of every row that is due."""

import asyncio
import os
from datetime import datetime

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness import tick, wiring
from freshness.metrics import NAMESPACE, Metric, count
from freshness.refresh import Refresh
from freshness.store import SHARDS

logger = Logger(service="queue_refreshes")
metrics = Metrics(namespace=NAMESPACE, service="queue_refreshes")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> None:
    """One tick over all rows; or over one shard of them, if the schedule's input is `{"shard": "0"}` and the like."""
    shard = event.get("shard")
    if shard is not None and shard not in SHARDS:
        raise ValueError(f"there is no shard {shard!r}: have one schedule for each of {SHARDS}, or one without input")
    lease = "queue_refreshes" if shard is None else f"queue_refreshes {shard}"
    with tick.alone(lease, context) as until:
        if until:
            asyncio.run(_queue(until, SHARDS if shard is None else (str(shard),)))
    count(metrics, {Metric.TICKS: 1} | tick.quota_left())


async def _queue(until: datetime, shards: tuple[str, ...]) -> None:
    async with tick.codat(until) as codat:
        refresh = Refresh(
            store=wiring.store(),
            codat=codat,
            bus=wiring.bus(),
            policy=wiring.informed_policy(),
            clock=wiring.clock,
            until=until,
            dry_run=os.environ["DRY_RUN"] == "true",
            shards=shards,
        )
        done = await refresh.queue_due(tick.codat_takes_calls)
    tally = refresh.tally | tick.stops(refresh.stopped_by)
    if not done and not refresh.stopped_by and not codat.is_down:
        tally[Metric.TICKS_CUT_SHORT] += 1
    count(metrics, tally | {Metric.CODAT_CALLS: codat.calls})
    logger.info("Queued", extra={"tally": dict(refresh.tally), "codat_calls": codat.calls})
    if refresh.failures:
        raise refresh.failures[0]
