"""Finisher requests for fresh data: publishing their results once these are final, and storing them."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.services import Services
from freshness.aws.event_bus import NotPublished
from freshness.aws.item_codec import shard
from freshness.aws.table import ContentionError, VersionConflict
from freshness.domain.company import Company
from freshness.domain.feed import Feed
from freshness.domain.freshness_request import KEPT, FreshnessRequest
from freshness.domain.notifications import request_ended

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """Ends requests for fresh data."""

    services: Services

    def finish(self, request: FreshnessRequest, company: Company, feeds: Iterable[Feed]) -> FreshnessRequest:
        """Return a request, published and stored as ended if its results are final.

        What was given may be from before the last writes, so that it is read again before anything is published.
        """
        if request.is_done or not request.with_results(feeds, company, self.services.clock()).is_done:
            return request
        tables = self.services.tables
        current_company = tables.companies.get(request.company_id, consistent=True) or company
        current_feeds = tables.feeds.of_company(request.company_id, consistent=True)

        ended = request
        for _ in tables.requests.races():
            known = tables.requests.get(request.request_id)
            if known is None and request.version:
                break
            known = known or request
            ended = known.with_results(current_feeds, current_company, self.services.clock())
            if ended == known:
                break
            self.services.bus.publish([request_ended(ended)])
            with suppress(VersionConflict):
                ended = tables.requests.put(ended)
                break
        return ended

    def finish_of_companies(self, company_ids: Collection[str]) -> None:
        """End the open requests about companies, of which a feed is as fresh now as callers need."""
        tables = self.services.tables
        shards = sorted({shard(company_id) for company_id in company_ids})
        for request in list(tables.requests.open(self.services.clock() + KEPT, shards)):
            if request.company_id in company_ids:
                with left_to_the_next_tick(request):
                    company = tables.companies.get(request.company_id) or Company(company_id=request.company_id)
                    self.finish(request, company, tables.feeds.of_company(request.company_id))


@contextmanager
def left_to_the_next_tick(request: FreshnessRequest) -> Iterator[None]:
    """Log an error because of which nothing can be done for a request now."""
    try:
        yield
    except (ContentionError, NotPublished, BotoCoreError, ClientError) as error:
        context = {"request_id": request.request_id, "error": str(error)}
        logger.warning("A request for fresh data was left to the next tick", extra=context)
