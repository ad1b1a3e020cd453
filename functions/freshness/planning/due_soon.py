"""Feeds that are due soon: they are queued with those that are due already, if that needs fewer calls."""

from collections.abc import Collection, Iterable
from datetime import datetime

from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.planning.decision import Action, Decision
from freshness.planning.planner import decide, needs_all_feeds
from freshness.policy.policy import Policy

SOON = 0.1
"""A feed is due soon if it is due within this share of its `fresh_within`."""


def due_soon(
    company: Company, feeds: Iterable[Feed], due: Collection[FeedKey], policy: Policy, now: datetime
) -> dict[FeedKey, Decision]:
    """Return the decisions to queue a company's feeds that are due soon, without those that are due already.

    Feeds that depend on others, by a set or by their connection's quota, are left out. So are those of platforms with a
    cap on spending, where it costs more to refresh early.
    """
    companies = {company.company_id: company}
    soon: dict[FeedKey, Decision] = {}
    for feed in feeds:
        connection = company.connections.get(feed.connection_id)
        if feed.key in due or feed.due_at is None or connection is None or needs_all_feeds(feed, company, policy):
            continue
        if policy.capped_as(connection):
            continue
        later = now + SOON * policy.promise(feed.data_type, company, connection).at(now).fresh_within
        if feed.due_at <= later:
            decisions = decide([feed], companies, policy, later)
            soon |= {each.feed.key: each for each in decisions if each.action is Action.QUEUE}
    return soon
