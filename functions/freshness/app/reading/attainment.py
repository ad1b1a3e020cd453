"""Attainment: how many feeds are promised, and how fast the error budgets of the promises are used up."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial

from freshness.aws.dynamodb.tables import Tables
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed
from freshness.domain.slo.attainment import Cell, by_hour_since, cells
from freshness.domain.slo.burn_rate import burn
from freshness.policy.policy import Policy, objective


def supported(feeds: Iterable[Feed]) -> dict[str, tuple[str, ...]]:
    """Return the data types of the feeds that are supported, by connection id."""
    data_types: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for feed in feeds:
        if not feed.is_unsupported:
            data_types[feed.connection_id] += (feed.data_type,)
    return dict(data_types)


def promised(company: Company, policy: Policy) -> Iterator[Cell]:
    """Yield the parts of the fleet that each feed of a company belongs to, if anything is promised of the feed."""
    for connection_id, data_types in company.feeds.items():
        connection = company.connections.get(connection_id)
        if connection is None:
            continue
        for data_type in data_types:
            promise = policy.promise(data_type, company, connection)
            if not promise.off:
                yield from cells(data_type, promise.group)


def burn_percent(tables: Tables, policy: Policy, now: datetime) -> int:
    """Return how fast error budgets are used up. From 100 on it is too fast (`freshness.domain.slo.burn_rate`)."""
    open_breaches = (breach.until(now) for breach in tables.feeds.open_breaches())
    records = tables.attainment.since(by_hour_since(now), now)
    return round(100 * burn(records, open_breaches, partial(objective, policy), now))
