"""Refreshes several data types of a company by one call: `data/all`, or the refresh of a custom product.

`data/all` is used if everything that it queues is due. The refresh of a product lists the data types to queue. Neither
names the datasets that it queues: one more call reads them from history.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshness.codat.client import Codat
from freshness.codat.models import PullOperation
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import has_ended
from freshness.domain.feeds.codat_schedule import CodatSchedule, is_linked
from freshness.domain.feeds.feed import Feed, FeedKey, is_known_dataset

WORTHWHILE = 3
"""From this many feeds on, `data/all` and a call to read what it queued are fewer than a call for each feed."""
TOLERANCE = timedelta(minutes=1)
"""How far apart Codat's times of the same call may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkCall:
    """A call that queues several feeds of a company: the refresh of a product, or `data/all` if `product` is empty."""

    feeds: Mapping[FeedKey, Feed]
    product: str = ""
    data_types: tuple[str, ...] = field(default=())


def plan(
    schedule: CodatSchedule,
    products: Mapping[str, Iterable[str]],
    company: Company,
    feeds: Collection[Feed],
    due: Collection[FeedKey],
    soon: Collection[FeedKey] = (),
) -> list[BulkCall]:
    """Return the bulk calls that queue a company's due feeds by the fewest calls; none if they save no call.

    `products` has the data types of custom products; only products of the company count. What is due `soon` is queued
    with them: otherwise data types that were once queued a tick apart would never be queued together again.
    """
    options: list[list[BulkCall]] = [[]]
    together = {feed.key: feed for feed in schedule.queued_by_data_all(company, feeds)}
    are_due = all(key in due and feed.in_flight is None for key, feed in together.items())
    if are_due and len(together) >= WORTHWHILE:
        options.append([BulkCall(feeds=together)])
    options.append(_of_products(products, company, feeds, {*due, *soon}, due))
    return min(options, key=lambda calls: _calls(calls, len({*due, *soon})))


def _calls(calls: Collection[BulkCall], due: int) -> int:
    """Return how many calls are made in all: these, one to read history, and one for each feed that they leave out."""
    return len(calls) + bool(calls) + due - sum(len(call.feeds) for call in calls)


def _of_products(
    products: Mapping[str, Iterable[str]],
    company: Company,
    feeds: Collection[Feed],
    wanted: Collection[FeedKey],
    due: Collection[FeedKey],
) -> list[BulkCall]:
    """Return a call for each product that would queue several wanted feeds. At least one of the feeds is due.

    A data type counts only if its feeds from all linked connections are wanted, and none is in flight.
    """
    calls, covered = [], set[str]()
    for product in company.products:
        of_product: dict[FeedKey, Feed] = {}
        data_types = []
        for data_type in dict.fromkeys(products.get(product, ())):
            linked = [feed for feed in feeds if feed.data_type == data_type and is_linked(feed, company)]
            are_wanted = all(feed.key in wanted and feed.in_flight is None for feed in linked)
            if linked and are_wanted and data_type not in covered:
                of_product |= {feed.key: feed for feed in linked}
                data_types.append(data_type)
        if len(of_product) > 1 and not of_product.keys().isdisjoint(due):
            covered.update(data_types)
            calls.append(BulkCall(feeds=of_product, product=product, data_types=tuple(data_types)))
    return calls


def is_answered(feeds: Mapping[FeedKey, Feed], at: datetime) -> bool:
    """Return whether a bulk call made at `at` was answered: one of its feeds has a request from then or later."""
    return any(feed.last_dataset and feed.last_dataset.at >= at - TOLERANCE for feed in feeds.values())


async def queued_since(
    at: datetime,
    codat: Codat,
    company_id: str,
    feeds: Mapping[FeedKey, Feed],
    called_at: datetime | None = None,
) -> Mapping[FeedKey, PullOperation]:
    """Return the datasets that a bulk call made at `at` queued, from history: its response does not name them.

    `called_at` is when the call was made by our own clock, if that differs.

    Raises:
        CodatError: the company's history could not be read.
    """
    found: dict[FeedKey, PullOperation] = {}
    if not feeds:
        return found
    async for operation in codat.history(company_id):
        key = (company_id, operation.data_type, operation.connection_id)
        if operation.requested >= at - TOLERANCE and key in feeds and _is_new(operation, feeds[key], called_at or at):
            found.setdefault(key, operation)
        if found.keys() == feeds.keys() or operation.requested < at - TOLERANCE:
            break
    return found


def _is_new(operation: PullOperation, feed: Feed, called_at: datetime) -> bool:
    """Return whether a call may have queued a dataset: it was requested after the latest known dataset of its feed.

    The dataset may have ended by now: a webhook may have reported that before any response was recorded.
    """
    if is_known_dataset(feed, operation.id) or (feed.last_dataset and operation.requested <= feed.last_dataset.at):
        return False
    has_ended = feed.end is not None and operation.requested <= feed.end.at
    return not has_ended or operation.requested >= called_at - TOLERANCE


async def running(
    codat: Codat, company_id: str, feeds: Mapping[FeedKey, Feed], since: datetime
) -> Mapping[FeedKey, PullOperation]:
    """Return the datasets of these feeds that were requested at `since` or later and still run.

    Raises:
        CodatError: the company's history could not be read.
    """
    latest: dict[FeedKey, PullOperation] = {}
    async for operation in codat.history(company_id):
        key = (company_id, operation.data_type, operation.connection_id)
        if operation.requested < since:
            break
        if key in feeds:
            latest.setdefault(key, operation)
        if latest.keys() == feeds.keys():
            break
    return {key: operation for key, operation in latest.items() if not has_ended(operation.status)}
