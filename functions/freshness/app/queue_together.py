"""Queueing several feeds of a company by as few calls as possible, and recording what they queued."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from freshness.app.idempotency import key_of, text_of
from freshness.app.queueing import Queueing
from freshness.aws.metrics import Metric
from freshness.codat import bulk_refresh
from freshness.codat.bulk_refresh import BulkCall
from freshness.codat.dataset_facts import requested_fact
from freshness.codat.errors import AlreadyInProgress, CodatError, NotFound, Refused
from freshness.domain.codat_schedule import CodatSchedule
from freshness.domain.company import Company
from freshness.domain.company_facts import BulkRefreshStarted
from freshness.domain.dataset import Trigger
from freshness.domain.feed import Feed, FeedKey
from freshness.domain.feed_values import CLOCKS_DIFFER
from freshness.planning.decision import Decision
from freshness.planning.due_soon import due_soon

REMEMBERED = timedelta(days=1)
"""How long after such calls no others are made before history was read for what the first queued."""
LONGEST_ADOPTED = timedelta(days=1)
"""How old a dataset may be that a refresh of a product, which was refused as already in progress, may have meant."""
PRODUCT_REFUSED = "A product cannot be refreshed: each of its data types is queued by itself"
"""The log message by which `doctor` finds products that the policy names by mistake."""

logger = Logger(service="codat-freshness")


async def queue_together(queueing: Queueing, group: list[Decision], schedule: CodatSchedule) -> list[Decision]:
    """Queue what is due of a company with as few calls as possible, and return what is left to queue by itself.

    That the calls are about to be made is recorded first. If no response was recorded, history is read for what they
    queued before anything is queued again.
    """
    company, policy = group[0].company, queueing.recorder.policy
    due = {decision.feed.key: decision for decision in group}
    feeds = await asyncio.to_thread(queueing.tables.feeds.of_company, company.company_id)
    products = policy.types_of_products
    soon = due_soon(company, feeds, due, policy, queueing.clock()) if products else {}
    calls = bulk_refresh.plan(schedule, products, company, feeds, due.keys(), soon.keys())
    if not calls:
        return group
    to_queue = due | soon
    together = {key: feed for call in calls for key, feed in call.feeds.items()}
    at = company.bulk_refresh_at
    is_unfinished = at and at + REMEMBERED > queueing.clock() and not bulk_refresh.is_answered(together, at)
    try:
        if at is None or not is_unfinished:
            at = queueing.clock()
            company = await asyncio.to_thread(queueing.recorder.company, company, BulkRefreshStarted(at=at))
            at, together = await _call(queueing, company, calls, at, to_queue)
        # The time that was recorded before the call is by our own clock.
        since = at - CLOCKS_DIFFER if is_unfinished else at
        queued = await bulk_refresh.queued_since(since, queueing.codat, company.company_id, together)
    except CodatError as error:
        await queueing.record_unknown(company, due.values(), error)
        return []
    for key, operation in queued.items():
        called_at = at if is_unfinished else None
        await queueing.record_queued(company, together[key], operation, to_queue[key], called_at)
    return [decision for key, decision in due.items() if key not in queued and key in to_queue]


async def _call(
    queueing: Queueing, company: Company, calls: Iterable[BulkCall], at: datetime, to_queue: dict[FeedKey, Decision]
) -> tuple[datetime, dict[FeedKey, Feed]]:
    """Make calls that were recorded to begin at a time; return when Codat accepted the first, and for which feeds.

    Feeds that run already are recorded, and removed from `to_queue`.
    """
    accepted: dict[FeedKey, Feed] = {}
    accepted_at: list[datetime] = []
    for call in calls:
        try:
            accepted_at.append(await _call_one(queueing, company, call, at))
            accepted |= call.feeds
        except AlreadyInProgress as error:
            for adopted in await _record_running(queueing, company, call, error):
                to_queue.pop(adopted)
        except (NotFound, Refused) as error:
            names = {"company_id": company.company_id, "product": call.product, "error": str(error)}
            logger.error(PRODUCT_REFUSED if call.product else "data/all was refused", extra=names)
    return min(accepted_at, default=at), accepted


async def _call_one(queueing: Queueing, company: Company, call: BulkCall, at: datetime) -> datetime:
    key = key_of(company.company_id, text_of(at), call.product)
    if call.product:
        return await queueing.codat.refresh_product(company.company_id, call.product, call.data_types, key)
    return await queueing.codat.queue_all(company.company_id, key)


async def _record_running(
    queueing: Queueing, company: Company, call: BulkCall, error: AlreadyInProgress
) -> list[FeedKey]:
    """Record the datasets of a product that run already, and return their feeds."""
    since = error.at - LONGEST_ADOPTED
    running = await bulk_refresh.running(queueing.codat, company.company_id, call.feeds, since)
    for key, operation in running.items():
        await queueing.record(call.feeds[key], company, requested_fact(operation, Trigger.EXTERNAL))
        queueing.tally[Metric.DATASETS_ADOPTED] += 1
    return list(running)
