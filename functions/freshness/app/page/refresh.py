"""Refreshing what the page names as older than promised."""

from collections import defaultdict

from freshness.app.operations import Operations
from freshness.app.page.read import EVERYTHING, page_view
from freshness.app.page.view import Selection
from freshness.app.reading.queries import Queries
from freshness.domain.companies.pause import in_force
from freshness.domain.feeds.feed import FeedKey


def refresh_worst(queries: Queries, operations: Operations, selection: Selection = EVERYTHING) -> int:
    """Request refreshes of the worst of the selected feeds, where they can be queued. Return how many.

    Raises:
        Paused: all refreshes are paused.
    """
    wanted: dict[str, set[FeedKey]] = defaultdict(set)
    now = queries.services.clock()
    for cell in page_view(queries, now, selection).worst:
        wanted[cell.feed.company_id].add(cell.feed.key)
    requested = 0
    for company_id, company in queries.services.tables.companies.get_many(wanted).items():
        if in_force(company.pause, now):
            continue
        feeds = [
            feed for feed in queries.services.tables.feeds.of_company(company_id) if feed.key in wanted[company_id]
        ]
        requested += len(operations.request_refreshes(company, feeds))
    return requested
