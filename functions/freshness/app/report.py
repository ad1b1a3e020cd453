"""What `./freshness report` shows of attainment: how much of the promised time copies were fresh."""

from datetime import datetime, timedelta

from freshness.app.views import AttainmentView
from freshness.aws.tables import Tables
from freshness.domain.attainment import Kind, attained, by_hour_since, day_of, hour_of, of_fleet
from freshness.policy.policy import Policy, objective

KINDS = tuple(Kind)


def attainment(tables: Tables, policy: Policy, now: datetime, since: timedelta) -> tuple[AttainmentView, ...]:
    """Return what was attained in a time until now: in the whole fleet, and in each part of it.

    The time begins with an hour, or where that is more than two days ago with a day, in UTC. It reads a record for each
    hour or day, and the index of broken promises.
    """
    first = now - since
    start = (day_of(first) if first < by_hour_since(now) else hour_of(first)).start
    open_breaches = (breach.until(now) for breach in tables.feeds.open_breaches())
    parts = attained(tables.attainment.since(start, now), open_breaches, start, now)
    return (
        AttainmentView(kind=None, name="", times=of_fleet(parts), since=start),
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
