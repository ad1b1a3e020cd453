"""Ending requests for fresh data: their results are stored once they are final, and then published.

Publishing also ends the task of Step Functions that waits for the request.

A run that is killed in between leaves results that are stored, but not published. A tick publishes them unchanged.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.services import Services
from freshness.aws.dynamodb.table import ContentionError, VersionConflict
from freshness.aws.event_bus import NotPublished
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.freshness_request import FreshnessRequest
from freshness.domain.transitions.notifications import Notification, request_ended

NOT_ENSURED = "FreshnessNotEnsured"
"""The error that a task of Step Functions fails with."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """Ends requests for fresh data."""

    services: Services

    def finish(self, request: FreshnessRequest, company: Company, feeds: Iterable[Feed]) -> FreshnessRequest:
        """End a request if its results are final, and return it. If AWS fails, the next tick does the rest.

        The given company and feeds may be out of date. Unless everything is fresh, they are read again before the end
        is stored.
        """
        given = list(feeds)
        ahead = request.with_results(given, company, self.services.clock())
        if request.is_done or not ahead.is_done:
            return request
        with left_to_the_next_tick(request):
            if not ahead.is_fresh:
                company = self.services.tables.companies.get(request.company_id, consistent=True) or company
                given = self.services.tables.feeds.of_company(request.company_id, consistent=True)
            request = self._stored(request, company, given)
        return self.publish(request, company)

    def publish(self, request: FreshnessRequest, company: Company) -> FreshnessRequest:
        """Publish the stored end of a request, unless it is known to be published. Return the request."""
        if request.is_done and not request.is_published:
            with left_to_the_next_tick(request):
                ended = request_ended(request, company)
                self.services.bus.publish([ended])
                self._end_task(request, ended)
                return self.services.tables.requests.update(request, lambda known: replace(known, is_published=True))
        return request

    def _end_task(self, request: FreshnessRequest, ended: Notification) -> None:
        tasks = self.services.tasks
        if tasks is None or not request.task_token:
            return
        if request.failures:
            reasons = "; ".join(f"{each.data_type}: {each.reason}" for each in request.failures)
            tasks.fail(request.task_token, NOT_ENSURED, reasons)
        else:
            tasks.succeed(request.task_token, ended.detail())

    def finish_of_companies(self, company_ids: Collection[str]) -> None:
        """End the open requests about these companies whose results are final."""
        tables = self.services.tables
        for company_id in company_ids:
            for request in tables.requests.open_of_company(company_id):
                with left_to_the_next_tick(request):
                    company = tables.companies.get(company_id) or Company(company_id=company_id)
                    if request.is_done:
                        self.publish(request, company)
                        continue
                    self.finish(request, company, tables.feeds.of_company(company_id))

    def _stored(self, request: FreshnessRequest, company: Company, feeds: Iterable[Feed]) -> FreshnessRequest:
        requests, known = self.services.tables.requests, request
        for _ in requests.races():
            ended = known.with_results(feeds, company, self.services.clock())
            if ended == known:
                return known
            with suppress(VersionConflict):
                return requests.put(ended)
            current = requests.get(request.request_id)
            if current is None:
                break
            known = current
        return request


@contextmanager
def left_to_the_next_tick(request: FreshnessRequest) -> Iterator[None]:
    """Log an error that leaves a request to the next tick."""
    try:
        yield
    except (ContentionError, NotPublished, BotoCoreError, ClientError) as error:
        context = {"request_id": request.request_id, "error": str(error)}
        logger.warning("A request for fresh data was left to the next tick", extra=context)
