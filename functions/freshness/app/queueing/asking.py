"""Asking Codat, before a tick decides or queues, how datasets in flight are, and what unanswered calls queued."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from aws_lambda_powertools import Logger

from freshness.app.queueing.calls import Queueing
from freshness.aws.metrics import Metric
from freshness.codat import bulk_refresh, status_poller
from freshness.codat.errors import AllRefused, CodatError
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CheckNeeded
from freshness.domain.feeds.facts import DatasetPolled
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.times import CLOCKS_DIFFER
from freshness.domain.transitions.company_transition import reads_of
from freshness.domain.transitions.notifications import CompanyDataRefreshed
from freshness.planning.decision import Decision
from freshness.planning.planner import asks_first
from freshness.policy.policy import Policy

logger = Logger(service="codat-freshness")


def to_ask(
    feeds: Iterable[Feed], companies: Mapping[str, Company], policy: Policy, now: datetime
) -> list[tuple[Company, list[Feed]]]:
    """Group by company the feeds about which Codat must be asked first."""
    groups: defaultdict[str, list[Feed]] = defaultdict(list)
    for feed in feeds:
        company = companies.get(feed.company_id)
        if company and asks_first(feed, company, policy, now):
            groups[feed.company_id].append(feed)
    return [(companies[company_id], group) for company_id, group in groups.items()]


async def ask(queueing: Queueing, company: Company, feeds: list[Feed]) -> list[Feed]:
    """Ask Codat for the state of a company's datasets in flight, and record it. Return the feeds it answered about."""
    services, company_id = queueing.services, company.company_id
    if any(feed.seen_running_at for feed in feeds):
        # Feeds that wait for long, perhaps for the same machine, are asked about together from now on.
        feeds = await asyncio.to_thread(_in_flight, queueing, company)
    try:
        polled = await status_poller.poll_in_flight(queueing.codat, company_id, feeds, services.clock())
    except AllRefused as error:
        queueing.stop(error)
        return []
    except CodatError as error:
        logger.warning("Datasets cannot be read", extra={"company_id": company_id, "error": str(error)})
        return []
    return await asyncio.to_thread(_record, queueing, company, feeds, polled)


def _in_flight(queueing: Queueing, company: Company) -> list[Feed]:
    feeds = queueing.services.tables.feeds.of_company(company.company_id)
    known = [feed for feed in feeds if feed.connection_id in company.connections]
    return [feed for feed in known if feed.in_flight and feed.in_flight.dataset_id]


def _record(
    queueing: Queueing, company: Company, feeds: Iterable[Feed], polled: Mapping[FeedKey, DatasetPolled]
) -> list[Feed]:
    services = queueing.services
    answered = [(feed, [polled[feed.key]]) for feed in feeds if feed.key in polled]
    followed = services.recorder.record_feeds(company, answered)
    found = sum(isinstance(each, CompanyDataRefreshed) for change in followed for each in change.notifications)
    services.counts.count(Metric.REFRESHES_FOUND_BY_CHECK, found)
    recorded = [change.feed for change in followed]
    through = (company.connections[feed.connection_id] for feed in recorded)
    if reads_of(recorded).refused or any(connection.is_refused for connection in through):
        # The check records on the company whether its connections can be read through.
        services.recorder.record_company(company, CheckNeeded())
    return recorded


async def find_queued(queueing: Queueing, group: list[Decision]) -> list[Decision]:
    """Record which feeds of a company earlier calls have queued. Return the decisions that are left.

    Codat repeats its response to an idempotency key for 90 minutes. For older calls, and those whose key was lost with
    a killed run, the company's history is read.
    """
    company, now = group[0].company, queueing.services.clock()
    unknown = {
        decision.feed.key: (decision, unanswered.at)
        for decision in group
        if (unanswered := decision.feed.unanswered) and not unanswered.is_repeatable(now)
    }
    if not unknown:
        return group
    feeds = {key: decision.feed for key, (decision, _) in unknown.items()}
    called_at = min(at for _, at in unknown.values())
    try:
        queued = await bulk_refresh.queued_since(
            called_at - CLOCKS_DIFFER, queueing.codat, company.company_id, feeds, called_at
        )
    except CodatError as error:
        await queueing.record_unknown(company, (decision for decision, _ in unknown.values()), error)
        return [decision for decision in group if decision.feed.key not in unknown and not queueing.stopped_by]
    for key, operation in queued.items():
        decision, called_at = unknown[key]
        await queueing.record_queued(company, feeds[key], operation, decision, called_at)
    return [decision for decision in group if decision.feed.key not in queued]
