"""The parts of the policy that depend on the time of day."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from freshness.domain.companies.company import Company
from freshness.domain.promises.hours import Hours
from freshness.domain.promises.promise import Promise, TimeOfDayTerms
from freshness.domain.promises.terms import Deadline, TimedTerms
from freshness.domain.promises.windows import Window
from freshness.policy.file import values
from freshness.policy.file.local_time import Calendar, LocalTime, Timing
from freshness.policy.file.schema import DeadlineTable, Rule, WindowTable
from freshness.policy.file.table import LocatedError, Location
from freshness.policy.terms import Merged, labelled


def time_of_day_terms(
    base: Promise,
    merged: Merged,
    deadlines: Iterable[tuple[int, DeadlineTable]],
    local: "Local",
    positions: Mapping[Location, str],
) -> TimeOfDayTerms | None:
    """Return the terms and deadlines that depend on the time of day; `None` if there are none.

    `base` is the promise outside all hours. `deadlines` are those that apply, with their numbers in the file.
    """
    terms = tuple(
        TimedTerms(hours=local.hours(table.rule), source=table.at(positions), **specified)
        for table, specified in merged.timed
        if table.rule
    )
    ends = tuple(
        Deadline(
            name=table.name,
            by=table.by,
            fresh_within=table.fresh_within,
            source=labelled(f'deadline "{table.name}"', ("deadlines", index), positions),
            days=table.parsed_days,
            zone=local.zone(table),
            holidays=local.holidays(table),
        )
        for index, table in deadlines
    )
    return TimeOfDayTerms(base=base, terms=terms, deadlines=ends) if terms or ends else None


class Local:
    def __init__(self, company: Company, local_time: LocalTime, calendars: Mapping[str, Calendar]) -> None:
        self._company = company
        self._local_time = local_time
        self._calendars = calendars

    def zone(self, timing: Timing) -> ZoneInfo:
        """Return the time zone in which a table holds for the company."""
        return self._local_time.zone(self._company, timing.time_zone)

    def holidays(self, timing: Timing) -> frozenset[date]:
        """Return the dates on which a table does not hold for the company."""
        name = self._company.tags.get(self._local_time.calendar_tag or "")
        calendar = self._calendars.get(name or "") or self._calendars.get(timing.calendar or "")
        return calendar.all_dates if calendar else frozenset()

    def window(self, table: WindowTable) -> Window:
        return table.window_in(self.zone(table), self.holidays(table) if table.has_holidays else frozenset())

    def hours(self, rule: Rule) -> Hours:
        start, end = rule.hours or values.WHOLE_DAY
        return Hours(start=start, end=end, days=rule.parsed_days, zone=self.zone(rule), holidays=self.holidays(rule))


def check_calendars(kinds: Mapping[str, Sequence[Timing]], calendars: Mapping[str, Calendar]) -> None:
    """Raise `LocatedError` if a table names a calendar that is not in the file."""
    for location, table in (
        ((kind, index), each) for kind, tables in kinds.items() for index, each in enumerate(tables)
    ):
        if table.calendar is not None and table.calendar not in calendars:
            known = ", ".join(sorted(calendars)) or "none: add [calendars.NAME]"
            raise LocatedError((*location, "calendar"), f"expected one of calendars ({known}), got {table.calendar!r}")
