"""Tables of the policy that hold on none of the days simulated."""

from collections.abc import Collection, Iterator
from datetime import date

from freshness.domain.promises.calendar_days import is_one_of
from freshness.domain.promises.hours import DAY
from freshness.policy.file.local_time import Timing
from freshness.policy.file.schema import DeadlineTable, Rule
from freshness.policy.policy import Policy

_LOOK_AHEAD = 366


def not_simulated(policy: Policy, first: date, days: int, with_row: Collection[str]) -> Iterator[str]:
    """Yield a hint for each rule with hours, each window and each deadline that the simulated days or feeds never meet.

    `with_row` has the labels of the tables of the policy that have a row in the report.
    """
    tables: tuple[tuple[str, Timing], ...] = (
        *((f'rule "{rule.name}"', rule) for rule in policy.rules if rule.hours),
        *((f'window "{window.name}"', window) for window in policy.windows),
        *((f'deadline "{deadline.name}"', deadline) for deadline in policy.deadlines),
    )
    for label, table in tables:
        holidays = policy.calendars[table.calendar].all_dates if table.calendar else frozenset[date]()
        coming = (
            number for number in range(_LOOK_AHEAD) if is_one_of(table.parsed_days, first + number * DAY, holidays)
        )
        wait = next(coming, None)
        if wait is None:
            yield f"{label} holds on no day of the year from {first} on."
        elif wait >= days:
            day = first + wait * DAY
            yield f"{label} holds on none of the days simulated: it does on {day}, with --days {wait + 1}."
        elif _sets_freshness(table) and not any(each.startswith((f"{label} (", f"{label},")) for each in with_row):
            yield f"{label} sets the freshness of no feed of this fleet."


def _sets_freshness(table: Timing) -> bool:
    if isinstance(table, Rule):
        return any(terms.fresh_within for terms in (table, *table.data_types.values()))
    return isinstance(table, DeadlineTable)
