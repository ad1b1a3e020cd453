"""Attainment: how much of the promised time copies were fresh, and how fast error budgets are used up."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from freshness.app.reading.views import AttainmentView
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.slo.attainment import (
    Attained,
    Breakdown,
    Cell,
    Period,
    attained,
    by_hour_since,
    day_of,
    hour_of,
    of_fleet,
)
from freshness.domain.slo.burn_rate import burn
from freshness.policy.policy import Policy, objective

KINDS = tuple(Breakdown)


def attainment(tables: Tables, policy: Policy, now: datetime, since: timedelta) -> tuple[AttainmentView, ...]:
    """Return the attainment of the last `since`: of the whole fleet, and of each part of it.

    The time begins with a full hour, or with a full day (UTC) if that is more than two days ago. This reads one record
    for each hour or day, and the index of broken promises.
    """
    first = now - since
    start = (day_of(first) if first < by_hour_since(now) else hour_of(first)).start
    open_breaches = (breach.until(now) for breach in tables.feeds.open_breaches())
    return _views(attained(tables.attainment.since(start, now), open_breaches, start, now), policy, start)


def attainment_by(
    tables: Tables, policy: Policy, now: datetime, since: timedelta, period_of: Callable[[datetime], Period]
) -> Iterator[tuple[AttainmentView, ...]]:
    """Yield the attainment of each hour or day of the last `since`, the earliest first.

    `period_of` is `day_of`, or `hour_of` if all of the time is kept by hour. This reads the same as `attainment`.
    """
    period = period_of(now - since)
    records = tables.attainment.since(period.start, now)
    open_breaches = [breach.until(now) for breach in tables.feeds.open_breaches()]
    while period.start < now:
        until = min(period.end, now)
        known = [record for record in records if record.period.start < until]
        breaches = (replace(breach, end=min(breach.end, until)) for breach in open_breaches)
        parts = attained(known, breaches, period.start, until)
        yield _views(parts, policy, period.start)
        period = period_of(period.end)


def burn_percent(tables: Tables, policy: Policy, now: datetime) -> int:
    """Return how fast error budgets are used up. From 100 on it is too fast (`freshness.domain.slo.burn_rate`)."""
    open_breaches = (breach.until(now) for breach in tables.feeds.open_breaches())
    records = tables.attainment.since(by_hour_since(now), now)
    return round(100 * burn(records, open_breaches, partial(objective, policy), now))


def _views(parts: Mapping[Cell, Attained], policy: Policy, start: datetime) -> tuple[AttainmentView, ...]:
    """Return the attainment of the whole fleet, and of each part of it."""
    return (
        AttainmentView(kind=None, name="", times=of_fleet(parts), since=start),
        *(
            AttainmentView(
                kind=kind,
                name=name,
                times=times,
                since=start,
                objective=objective(policy, name) if kind is Breakdown.RULE else None,
            )
            for (kind, name), times in sorted(parts.items(), key=lambda part: (KINDS.index(part[0][0]), part[0][1]))
        ),
    )
