"""The use case of queue_refreshes: what one tick does, in order."""

import asyncio
from collections import Counter

from aws_lambda_powertools import Logger

from freshness.app.ensure.accept import EnsureFresh
from freshness.app.forecast import publish_misses
from freshness.app.queueing.calls import Queueing
from freshness.app.queueing.tick import RefreshTick
from freshness.app.services import Services
from freshness.app.tick import LISTING, Failures, Run, quota_left, stop_metrics
from freshness.aws.metrics import Metric

logger = Logger(service="codat-freshness")


async def queue_refreshes(services: Services, run: Run) -> None:
    """Run one tick: end requests for fresh data, queue the feeds that are due, and look ahead at deadlines.

    Raises:
        NotPublished, ContentionError, BotoCoreError, ClientError: AWS failed. Everything else that could be done was
            done.
    """
    now = services.clock()
    if services.start_paused:
        await asyncio.to_thread(services.tables.control.pause_if_new, LISTING, now)
    await asyncio.to_thread(services.record_deployed_policy, now)
    # However many requests are open, half of the time is left for what the promises need.
    requests_until = now + (run.until - now) / 2
    still_open = await asyncio.to_thread(EnsureFresh(services=services).end_due_requests, requests_until)
    if still_open:
        logger.info("Requests for fresh data are open", extra={"requests": still_open})
    failures = Failures(services.counts)
    limits = services.tables.control.api_limits()
    async with services.codat(run.until, known=limits) as codat:
        queueing = Queueing(services=services, codat=codat)
        tick = RefreshTick(
            services=services,
            queueing=queueing,
            limits=limits,
            until=run.until,
            unfinished_since=run.unfinished_since,
            failures=failures,
        )
        done = await tick.run()
    await asyncio.to_thread(publish_misses, services, failures, run.until)
    services.recorder.write_collected()
    counts = Counter(services.counts) + stop_metrics(queueing.stopped_by)
    if limits.down_since and codat.may_be_down:
        # Only a few calls were tried.
        counts[Metric.QUEUEING_FAILED] = max(counts[Metric.QUEUEING_FAILED], len(queueing.unqueued))
    if not done and not queueing.stopped_by and not codat.is_down:
        counts[Metric.TICKS_CUT_SHORT] += 1
    calls = {Metric.CODAT_CALLS: codat.calls, Metric.RESPONSE_ITEMS_SKIPPED: codat.items_skipped}
    left = quota_left(services.tables.control.api_limits(), services.clock())
    # Not a sum of counters, which would leave out zeros.
    measured = {**counts, **tick.metrics.measured, **left, **calls}
    services.emit(measured)
    logger.info("Tick of queue_refreshes ended", extra={"counts": measured})
    failures.raise_temporary()
