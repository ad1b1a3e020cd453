"""Attainment: how much of the promised time copies were fresh, and how many feeds are promised."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial

from freshness.app.views import AttainmentView
from freshness.aws.tables import Tables
from freshness.domain.attainment import (
    Attained,
    Cell,
    Kind,
    attained,
    by_hour_since,
    cells,
    day_of,
    hour_of,
)
from freshness.domain.burn_rate import burn
from freshness.domain.company import Company
from freshness.domain.feed import Feed
from freshness.policy.policy import Policy, objective

KINDS = tuple(Kind)


def supported(feeds: Iterable[Feed]) -> dict[str, tuple[str, ...]]:
    """Return the data types of feeds that their platforms have, by connection."""
    data_types: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for feed in feeds:
        if not feed.is_unsupported:
            data_types[feed.connection_id] += (feed.data_type,)
    return dict(data_types)


def promised(company: Company, policy: Policy) -> Iterator[Cell]:
    """Yield the parts of the fleet that each feed of a company belongs to for which anything is promised."""
    for connection_id, data_types in company.feeds.items():
        connection = company.connections.get(connection_id)
        if connection is None:
            continue
        for data_type in data_types:
            promise = policy.promise(data_type, company, connection)
            if not promise.off:
                yield from cells(data_type, promise.group)


def attainment(tables: Tables, policy: Policy, now: datetime, since: timedelta) -> tuple[AttainmentView, ...]:
    """Return what was attained in a time until now: in the whole fleet, and in each part of it.

    The time begins with an hour, or where that is more than two days ago with a day, in UTC. It reads a record for each
    hour or day, and the index of broken promises.
    """
    first = now - since
    start = (day_of(first) if first < by_hour_since(now) else hour_of(first)).start
    open_breaches = (breach.until(now) for breach in tables.feeds.open_breaches())
    parts = attained(tables.attainment.since(start, now), open_breaches, start, now)
    whole = sum((times for (kind, _), times in parts.items() if kind is Kind.RULE), Attained())
    return (
        AttainmentView(kind=None, name="", times=whole, since=start),
        *(
            AttainmentView(
                kind=kind,
                name=name,
                times=times,
                since=start,
                objective=objective(policy, name) if kind is Kind.RULE else None,
            )
            for (kind, name), times in sorted(parts.items(), key=lambda part: (KINDS.index(part[0][0]), part[0][1]))
        ),
    )


def burn_percent(tables: Tables, policy: Policy, now: datetime) -> int:
    """Return how fast error budgets are used up, in percent of what is too fast (`freshness.domain.burn_rate`)."""
    open_breaches = (breach.until(now) for breach in tables.feeds.open_breaches())
    records = tables.attainment.since(by_hour_since(now), now)
    return round(100 * burn(records, open_breaches, partial(objective, policy), now))
