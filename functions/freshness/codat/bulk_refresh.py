"""Queueing by `data/all`: one call for all that is due of a company, where that asks for nothing else."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.codat.models import PullOperation
from freshness.domain.codat_schedule import SyncSettings
from freshness.domain.company import Company
from freshness.domain.feed import Feed, FeedKey

WORTHWHILE = 3
"""Feeds for which one call of `data/all`, and one to learn what it queued, are fewer than one call each."""
LOOK_BACK = timedelta(minutes=1)
"""By how much the times that Codat gives in one answer may differ from those in another."""

logger = Logger(service="codat-freshness")


def worthwhile(
    settings: SyncSettings, company: Company, feeds: Iterable[Feed], due: Collection[FeedKey]
) -> dict[FeedKey, Feed]:
    """The feeds of a company that `data/all` would queue; none unless all are due, and enough to save a call."""
    together = {feed.key: feed for feed in settings.queued_by_all(company, feeds)}
    is_wanted = all(key in due and feed.in_flight is None for key, feed in together.items())
    return together if is_wanted and len(together) >= WORTHWHILE else {}


async def queued_at(
    at: datetime, codat: Codat, company_id: str, feeds: Mapping[FeedKey, Feed]
) -> Mapping[FeedKey, PullOperation | None]:
    """The datasets that `data/all` queued at a time, which it does not name; `None` for all if they cannot be read."""
    found: dict[FeedKey, PullOperation] = {}
    try:
        async for operation in codat.history(company_id):
            key = (company_id, operation.data_type, operation.connection_id)
            if operation.requested >= at - LOOK_BACK and key in feeds and not feeds[key].knows(operation.id):
                found.setdefault(key, operation)
            if found.keys() == feeds.keys() or operation.requested < at - LOOK_BACK:
                break
    except CodatError as error:
        logger.warning("What was queued cannot be read", extra={"company_id": company_id, "error": str(error)})
        return dict.fromkeys(feeds)
    return found
