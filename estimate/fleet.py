"""The fleet of an estimate: the feeds that a stack keeps fresh, as its tables have them."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from estimate.world import Measured, SimulatedFeed
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import in_force
from freshness.domain.feeds.feed import Feed
from freshness.domain.learned.change_rate import change_rate
from freshness.domain.times import BEGINNING
from freshness.policy.policy import Policy


def fleet_of(companies: Iterable[Company], feeds: Iterable[Feed], policy: Policy, now: datetime) -> list[SimulatedFeed]:
    """Return the feeds that can be refreshed: their connection is linked, nobody must act first, and nothing is paused.

    The change rate of each is estimated from its syncs, and taken as its true rate.
    """
    of_company: defaultdict[str, list[Feed]] = defaultdict(list)
    for feed in feeds:
        of_company[feed.company_id].append(feed)
    return [
        _simulated(feed, company, policy)
        for company in companies
        if not company.deleted_at and not in_force(company.pause, now)
        for feed in of_company[company.company_id]
        if _can_be_refreshed(feed, company)
    ]


def _can_be_refreshed(feed: Feed, company: Company) -> bool:
    connection = company.connections.get(feed.connection_id)
    if connection is None or not connection.is_linked or connection.suffices(feed.succeeded_at):
        return False
    return not feed.is_unsupported and not feed.is_blocked(connection)


def _simulated(feed: Feed, company: Company, policy: Policy) -> SimulatedFeed:
    connection = company.connections[feed.connection_id]
    promise = policy.promise(feed.data_type, company, connection)
    return SimulatedFeed(
        feed=feed,
        company=company,
        connection=connection,
        changes_per_day=change_rate(feed.history.observations(), promise.expected_changes_per_day),
        sync_time=feed.usual_sync_time,
        measured=Measured(since=BEGINNING),
    )
