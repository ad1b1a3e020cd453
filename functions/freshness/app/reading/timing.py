"""The parts of a promise that depend on the time of day, in words."""

from collections.abc import Iterator
from datetime import datetime

from freshness.app.reading.views import MissView, TimingView
from freshness.domain.promises.promise import Promise
from freshness.planning.forecast import AtRisk


def timing(promise: Promise, now: datetime) -> Iterator[TimingView]:
    """Yield what a promise is during its hours, what it is at other times, and its deadlines."""
    if promise.time_of_day is None:
        return
    hours = [(terms, terms.fresh_within) for terms in promise.time_of_day.terms if terms.fresh_within]
    for terms, within in hours:
        yield TimingView(when=str(terms.hours), fresh_within=within, rule=terms.source)
    if hours:
        yield TimingView(when="at other times", fresh_within=promise.fresh_within, rule=promise.source)
    for deadline in promise.time_of_day.deadlines:
        yield TimingView(
            when=str(deadline),
            fresh_within=deadline.fresh_within,
            rule=deadline.source,
            next_at=promise.time_of_day.next_moment(deadline, now),
        )


def miss_view(risk: AtRisk) -> MissView:
    """Return what people see of a feed that will miss a deadline."""
    return MissView(
        company_id=risk.company.company_id,
        company_name=risk.company.name,
        data_type=risk.feed.data_type,
        connection_id=risk.feed.connection_id,
        deadline=risk.moment.deadline.name,
        deadline_at=risk.moment.at,
        expected_at=risk.expected_at,
    )
