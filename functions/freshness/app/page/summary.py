"""A large fleet in numbers, as the page reads it: the worst feeds by name, and counts of the others."""

from collections import Counter
from datetime import datetime, timedelta

from freshness.app.forecast import misses_ahead
from freshness.app.page.read import FirstCompanies, first_companies, page_view
from freshness.app.reading.diagnosis import parties
from freshness.app.reading.queries import Queries
from freshness.app.reading.views import MissView, Summary

LOOKS_AHEAD_FOR = timedelta(seconds=1)
"""How long a summary may take to look for deadlines that will be missed. It reads all feeds that are due by then."""


def summary_of(queries: Queries, now: datetime) -> Summary:
    """Return a fleet in numbers: exact for a small fleet, from indexes and the worst companies for a large one."""
    first = first_companies(queries)
    return summary_of_large(queries, now, first) if first.is_large else queries.summary(queries.fleet(now), now)


def summary_of_large(queries: Queries, now: datetime, first: FirstCompanies) -> Summary:
    """Return a fleet in numbers, from indexes and the worst companies alone."""
    view = page_view(queries, now, first=first)
    waiting = parties((each.diagnosis, each.broken) for each in view.turns)
    ages = [cell.feed.age / cell.feed.promise for cell in view.worst if cell.feed.age]
    return Summary(
        at=now,
        companies=view.companies,
        pause=view.conditions.pause,
        states=Counter(),
        promises=view.feeds,
        promises_broken=view.broken,
        broken_by_turn={party.turn: party.feeds for party in waiting},
        waits_for=waiting,
        oldest_age_against_promise=max(ages, default=None),
        limits=view.conditions.limits,
        not_fresh=tuple(cell.feed for cell in view.worst),
        misses_ahead=tuple(map(MissView.of, misses_ahead(queries.services, now, now + LOOKS_AHEAD_FOR))),
        spending=view.spending,
        is_whole=False,
    )
