"""Scheduled: queues a refresh of every feed that is due."""

import asyncio
import os
from datetime import datetime

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app import exclusive_run
from freshness.app.queue_refreshes import Refresh
from freshness.aws import bootstrap
from freshness.aws.metrics import NAMESPACE, Metric, count
from freshness.aws.store import SHARDS

logger = Logger(service="queue_refreshes")
metrics = Metrics(namespace=NAMESPACE, service="queue_refreshes")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> None:
    """One tick over all feeds; or over one shard of them, if the schedule's input is `{"shard": "0"}` and the like."""
    shard = event.get("shard")
    if shard is not None and shard not in SHARDS:
        raise ValueError(f"there is no shard {shard!r}: have one schedule for each of {SHARDS}, or one without input")
    lease = "queue_refreshes" if shard is None else f"queue_refreshes {shard}"
    with exclusive_run.alone(lease, context) as until:
        if until:
            asyncio.run(_queue(until, SHARDS if shard is None else (str(shard),)))
    count(metrics, {Metric.TICKS: 1} | exclusive_run.quota_left())


async def _queue(until: datetime, shards: tuple[str, ...]) -> None:
    async with exclusive_run.codat(until) as codat:
        refresh = Refresh(
            store=bootstrap.store(),
            codat=codat,
            bus=bootstrap.bus(),
            policy=bootstrap.informed_policy(),
            clock=bootstrap.clock,
            until=until,
            dry_run=os.environ["DRY_RUN"] == "true",
            shards=shards,
        )
        done = await refresh.queue_due(exclusive_run.codat_takes_calls)
    tally = refresh.tally | exclusive_run.stops(refresh.stopped_by)
    if not done and not refresh.stopped_by and not codat.is_down:
        tally[Metric.TICKS_CUT_SHORT] += 1
    count(metrics, tally | {Metric.CODAT_CALLS: codat.calls})
    logger.info("Queued", extra={"tally": dict(refresh.tally), "codat_calls": codat.calls})
    if refresh.failures:
        raise refresh.failures[0]
