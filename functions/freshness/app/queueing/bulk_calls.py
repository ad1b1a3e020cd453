"""Queueing several feeds of a company by as few calls as possible, and recording what they queued."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from freshness.app.queueing.calls import Queueing, key_of, text_of
from freshness.aws.metrics import Metric
from freshness.codat import bulk_refresh
from freshness.codat.bulk_refresh import BulkCall
from freshness.codat.errors import AlreadyInProgress, CodatError, NotFound, Refused
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import BulkRefreshStarted
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.codat_schedule import CodatSchedule
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.times import CLOCKS_DIFFER
from freshness.planning.decision import Decision
from freshness.planning.planner import due_soon

REMEMBERED = timedelta(days=1)
"""How long bulk calls without a recorded response are remembered: the history is read before others are made."""
LONGEST_ADOPTED = timedelta(days=1)
"""The oldest dataset that Codat may mean when it refuses a product's refresh as already in progress."""
PRODUCT_REFUSED = "A product cannot be refreshed: each of its data types is queued by itself"
"""The log message by which `doctor` finds products that the policy names by mistake."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAttempt:
    """Bulk calls for feeds of a company. Codat's responses name no datasets, so these are looked up in its history."""

    feeds: Mapping[FeedKey, Feed]
    """The feeds that the calls may have queued."""
    since: datetime
    """When the first of the calls may have taken effect."""
    called_at: datetime | None = None
    """When the calls were made at the earliest, if an earlier run made them and recorded no response."""
    running: frozenset[FeedKey] = frozenset()
    """Feeds that the calls did not queue, because they were in flight already."""


async def queue_together(queueing: Queueing, group: list[Decision], schedule: CodatSchedule) -> list[Decision]:
    """Queue the due feeds of a company by as few calls as possible. Return the decisions left to queue one by one.

    It is recorded first that the calls are about to be made. If an earlier run recorded this but no response, the
    history is read for what it queued, before anything is queued again.
    """
    company, policy = group[0].company, queueing.services.policy
    due = {decision.feed.key: decision for decision in group}
    feeds = await asyncio.to_thread(queueing.services.tables.feeds.of_company, company.company_id)
    products = policy.types_of_products
    soon = due_soon(company, feeds, due, policy, queueing.services.clock()) if products else {}
    calls = bulk_refresh.plan(schedule, products, company, feeds, due.keys(), soon.keys())
    if not calls:
        return group
    attempt = _find_unfinished(company, calls, queueing.services.clock())
    try:
        if attempt is None:
            started_at = queueing.services.clock()
            company = await asyncio.to_thread(
                queueing.services.recorder.record_company, company, BulkRefreshStarted(at=started_at)
            )
            attempt = await _call(queueing, company, calls, started_at)
        queued = await bulk_refresh.queued_since(
            attempt.since, queueing.codat, company.company_id, attempt.feeds, attempt.called_at
        )
    except CodatError as error:
        await queueing.record_unknown(company, due.values(), error)
        return []
    to_queue = due | soon
    for key, operation in queued.items():
        await queueing.record_queued(company, attempt.feeds[key], operation, to_queue[key], attempt.called_at)
    return [decision for key, decision in due.items() if key not in queued and key not in attempt.running]


def _find_unfinished(company: Company, calls: Iterable[BulkCall], now: datetime) -> BulkAttempt | None:
    """Return the attempt of an earlier run, if it recorded no response."""
    started_at = company.bulk_refresh_at
    feeds = {key: feed for call in calls for key, feed in call.feeds.items()}
    if started_at is None or started_at + REMEMBERED <= now or bulk_refresh.is_answered(feeds, started_at):
        return None
    # The recorded time is by our own clock, not by Codat's.
    return BulkAttempt(feeds=feeds, since=started_at - CLOCKS_DIFFER, called_at=started_at)


async def _call(queueing: Queueing, company: Company, calls: Iterable[BulkCall], started_at: datetime) -> BulkAttempt:
    """Make bulk calls whose start was recorded, and record the feeds that were in flight already."""
    accepted: dict[FeedKey, Feed] = {}
    accepted_at: list[datetime] = []
    running: set[FeedKey] = set()
    for call in calls:
        try:
            accepted_at.append(await _call_one(queueing, company, call, started_at))
            accepted |= call.feeds
        except AlreadyInProgress as error:
            running.update(await _record_running(queueing, company, call, error))
        except (NotFound, Refused) as error:
            names = {"company_id": company.company_id, "product": call.product, "error": str(error)}
            logger.error(PRODUCT_REFUSED if call.product else "data/all was refused", extra=names)
    return BulkAttempt(feeds=accepted, since=min(accepted_at, default=started_at), running=frozenset(running))


async def _call_one(queueing: Queueing, company: Company, call: BulkCall, started_at: datetime) -> datetime:
    """Make a bulk call, and return when Codat accepted it. A repeated call has the same idempotency key."""
    key = key_of(company.company_id, text_of(started_at), call.product)
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
        await queueing.record(call.feeds[key], company, operation.requested_by(Trigger.EXTERNAL))
        queueing.services.counts.count(Metric.DATASETS_ADOPTED)
    return list(running)
