"""Refreshing by `data/all`: one call for everything that is due of a company, where it queues nothing else."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from freshness.codat.client import Codat
from freshness.codat.models import PullOperation
from freshness.domain.codat_schedule import CodatSchedule
from freshness.domain.company import Company
from freshness.domain.feed import Feed, FeedKey

WORTHWHILE = 3
"""Feeds from which on a call of `data/all`, and one to read what it queued, are fewer than one call each."""
TOLERANCE = timedelta(minutes=1)
"""How far two times of Codat's may differ that belong to the same call."""


def worthwhile(
    schedule: CodatSchedule, company: Company, feeds: Iterable[Feed], due: Collection[FeedKey]
) -> dict[FeedKey, Feed]:
    """Return the feeds of a company that `data/all` would queue; none unless all are due and enough to save a call."""
    together = {feed.key: feed for feed in schedule.queued_by_data_all(company, feeds)}
    all_due = all(key in due and feed.in_flight is None for key, feed in together.items())
    return together if all_due and len(together) >= WORTHWHILE else {}


async def queued_since(
    at: datetime, codat: Codat, company_id: str, feeds: Mapping[FeedKey, Feed]
) -> Mapping[FeedKey, PullOperation]:
    """Return the datasets of feeds that were queued since `data/all` was called at a time, which does not name them.

    Raises:
        CodatError: the company's history could not be read.
    """
    found: dict[FeedKey, PullOperation] = {}
    async for operation in codat.history(company_id):
        key = (company_id, operation.data_type, operation.connection_id)
        if operation.requested >= at - TOLERANCE and key in feeds and not _knows(feeds[key], operation.id):
            found.setdefault(key, operation)
        if found.keys() == feeds.keys() or operation.requested < at - TOLERANCE:
            break
    return found


def _knows(feed: Feed, dataset_id: str) -> bool:
    return dataset_id in {move.dataset_id for move in (feed.request, feed.end) if move}
