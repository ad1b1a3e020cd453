"""What the page shows of attainment: by rule, and how many promises were broken in each hour of the last day."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from freshness.app.page.view import HourView, RuleView
from freshness.aws.dynamodb.control_items.attainment import AttainmentRecords
from freshness.domain.slo.attainment import (
    DAY,
    HOUR,
    Attained,
    Breakdown,
    Period,
    PeriodRecord,
    attained,
    day_of,
    hour_of,
    of_fleet,
)
from freshness.domain.slo.breach import BreachTime
from freshness.policy.policy import Policy, objective

MONTH = 30 * DAY


def read_attainment(
    records: AttainmentRecords, policy: Policy, breaches: Sequence[BreachTime], now: datetime
) -> tuple[tuple[RuleView, ...], tuple[HourView, ...]]:
    """Return the attainment of the whole fleet and of each rule, and the hours of the last day.

    `breaches` are the open ones. One record is read for each hour of the last two days, and one for each day before.
    """
    month, day = day_of(now - MONTH).start, hour_of(now - DAY).start
    known = records.since(month, now)
    of_month = attained(known, breaches, month, now)
    of_day = attained([each for each in known if each.period.start >= day - HOUR], breaches, day, now)
    whole = RuleView(rule="", day=of_fleet(of_day), month=of_fleet(of_month), objective=None)
    rules = [
        RuleView(rule=name, day=of_day.get((kind, name), Attained()), month=times, objective=objective(policy, name))
        for (kind, name), times in sorted(of_month.items(), key=lambda part: part[0])
        if kind is Breakdown.RULE
    ]
    rules.sort(key=lambda view: 1.0 if view.month.share is None else view.month.share)
    return (whole, *rules), tuple(_hours(known, breaches, day, now))


def _hours(
    records: Iterable[PeriodRecord], breaches: Sequence[BreachTime], first: datetime, now: datetime
) -> Iterable[HourView]:
    """Yield each hour since a time, with how many promises were broken in it on average."""
    by_start = {each.period.start: each for each in records if each.period.length == HOUR}
    start = first
    while start < now:
        hour = Period(start=start, length=HOUR)
        known = by_start.get(start)
        ended = [times for (kind, _), times in known.times.items() if kind is Breakdown.RULE] if known else []
        late = sum((times.late for times in ended), timedelta(0))
        waiting = sum((times.waiting for times in ended), timedelta(0))
        for breach in breaches:
            if breach.waiting:
                waiting += hour.overlap(breach.start, breach.end)
            else:
                late += hour.overlap(breach.start, breach.end)
        passed = hour.overlap(start, now)
        yield HourView(start=start, late=late / passed, waiting=waiting / passed)
        start = hour.end
