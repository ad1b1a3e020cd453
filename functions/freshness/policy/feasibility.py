"""Deadlines that no refresh can meet, whatever the fleet: because of windows, or of a limit for each connection."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from freshness.domain.hours import DAY, Days
from freshness.domain.windows import next_allowed
from freshness.policy import values
from freshness.policy.schema import DeadlineTable, WindowTable
from freshness.policy.table import LocatedError

_MONDAY = date(2026, 1, 5)


def check_deadlines(
    deadlines: Sequence[DeadlineTable],
    windows: Sequence[WindowTable],
    refreshes_per_connection: Mapping[str, int],
    *,
    in_one_zone: bool,
) -> None:
    """Raise `LocatedError` if a deadline cannot be met. `in_one_zone` is whether all tables hold in the same zone."""
    for index, deadline in enumerate(deadlines):
        if problem := _always_shut(deadline, windows, in_one_zone=in_one_zone):
            raise LocatedError(("deadlines", index, "by"), problem)
        for platform, allowed in refreshes_per_connection.items():
            earlier = [each for each in deadlines[: index + 1] if _concerns_all_of(each, platform)]
            needed = max((_needed(earlier, day) for day in values.DAYS), default=0)
            if _concerns_all_of(deadline, platform) and needed > allowed:
                raise LocatedError(
                    ("deadlines", index, "by"),
                    f"expected deadlines that budget.refreshes_per_connection allows: {platform} needs {needed} "
                    f"refreshes a day for those up to here, and gets {allowed}",
                )


def _always_shut(deadline: DeadlineTable, windows: Sequence[WindowTable], *, in_one_zone: bool) -> str:
    """Return why no refresh may be queued in the time before a deadline, empty if one may be."""
    covering = [window for window in windows if _covers(window, deadline)]
    shut = tuple(window.window_in(values.UTC if in_one_zone else window.time_zone) for window in covering)
    days = Days(days=deadline.day_numbers, zone=values.UTC if in_one_zone else deadline.time_zone)
    for day in (_MONDAY + number * DAY for number in range(len(values.DAYS))):
        at: datetime = days.moment(day, deadline.by)
        opens_at = next_allowed(shut, at - deadline.fresh_within)
        if days.include(day) and (opens_at is None or opens_at >= at):
            names = ", ".join(repr(window.name) for window in covering)
            return f"expected a time before which a refresh may be queued, but the windows {names} forbid it"
    return ""


def _covers(window: WindowTable, deadline: DeadlineTable) -> bool:
    """Return whether a window applies to everything that a deadline applies to."""
    data_types = not window.data_types or (deadline.data_types and set(deadline.data_types) <= set(window.data_types))
    platforms = not window.platforms or (deadline.platforms and set(deadline.platforms) <= set(window.platforms))
    companies = window.companies in ((), deadline.companies) and window.groups in ((), deadline.groups)
    return bool(data_types and platforms and companies and window.tags.items() <= deadline.tags.items())


def _concerns_all_of(deadline: DeadlineTable, platform: str) -> bool:
    """Return whether a deadline applies to every connection to a platform."""
    is_for_some = deadline.companies or deadline.groups or deadline.tags
    return not is_for_some and (not deadline.platforms or platform in deadline.platforms)


def _needed(deadlines: Sequence[DeadlineTable], day: str) -> int:
    """Return how many refreshes of a connection the deadlines of a day take at least.

    A refresh that ends at a deadline also serves the later ones that allow its age.
    """
    total = 0
    for data_type in {name for deadline in deadlines for name in deadline.data_types} or {""}:
        refreshed: timedelta | None = None
        of_type = (
            each for each in deadlines if day in each.days and (not each.data_types or data_type in each.data_types)
        )
        for deadline in sorted(of_type, key=lambda each: each.by):
            at = timedelta(hours=deadline.by.hour, minutes=deadline.by.minute)
            if refreshed is None or at - deadline.fresh_within > refreshed:
                refreshed, total = at, total + 1
    return total
