"""Deadlines over a year: how many are met, and with how many calls, compared with a bound on the age at all times.

A bound meets all deadlines only if it is the age that they allow: with a looser bound, the refresh before a deadline
might be missing. It is simulated with fewer companies, because it takes so many more refreshes.
"""

from datetime import UTC, datetime

from bench.figures import Figure, Topic, show
from simulate.year import DATA_TYPES, Year, policy, without_deadlines

COMPANIES = 60
COMPANIES_WITH_A_BOUND = 3
START = datetime(2026, 1, 1, tzinfo=UTC)


def measure() -> list[Figure]:
    """Simulate a year with deadlines, and one with a bound."""
    by_deadline = Year(companies=COMPANIES, policy=policy("1 week"), start=START)
    by_bound = Year(companies=COMPANIES_WITH_A_BOUND, policy=without_deadlines("2 hours"), start=START)
    by_deadline.run()
    by_bound.run()
    year = f"{COMPANIES:,} companies, three time zones, holidays, daylight saving"
    return [
        Figure(
            what="deadlines met in a year where a refresh could succeed",
            topic=Topic.PROMISES,
            value=100 * by_deadline.met / (by_deadline.met + by_deadline.missed),
            unit="%",
            against=year,
            at_least=99.5,
        ),
        Figure(
            what="refreshes of a feed in a year, each before its deadline",
            topic=Topic.CALLS,
            value=by_deadline.calls / COMPANIES / len(DATA_TYPES),
            unit="refreshes",
            against="the loosest fresh_within that meets them, 2 hours",
            floor=by_bound.calls / COMPANIES_WITH_A_BOUND / len(DATA_TYPES),
            at_most=1.0,
        ),
        Figure(
            what="deadlines met by that bound",
            value=100 * by_bound.met / (by_bound.met + by_bound.missed),
            unit="%",
        ),
    ]


if __name__ == "__main__":
    show("Year", measure())
