"""Deadlines that no refresh can meet, whatever the fleet: because of windows, limits, or caps on spending."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

from freshness.domain.companies.platforms import selects
from freshness.domain.promises.calendar_days import WEEKDAYS, is_one_of
from freshness.domain.promises.hours import DAY, Days
from freshness.domain.promises.windows import next_allowed
from freshness.policy.file import values
from freshness.policy.file.days import examined
from freshness.policy.file.money import Money
from freshness.policy.file.schema import DeadlineTable, WindowTable
from freshness.policy.file.table import LocatedError
from freshness.policy.policy import Policy

_WEEK = len(WEEKDAYS)
_SHORTEST_MONTH = 28
_Run = tuple[frozenset[int], ...]
"""Consecutive days, each as the numbers of its deadlines."""


def impossible_deadlines(policy: Policy, today: date) -> Iterator[LocatedError]:
    """Yield an error for each deadline that cannot be met."""
    for index, deadline in enumerate(policy.deadlines):
        together = [each for each in policy.deadlines[:index] if not (each.companies or each.groups or each.tags)]
        together.append(deadline)
        problems = (
            _always_closed(deadline, policy, today),
            *(_over_share(together, today, *limit) for limit in policy.budget.refreshes_per_connection.items()),
            *(_over_cap(together, today, *cap, policy.prices) for cap in policy.budget.spending.items()),
        )
        if problem := next(filter(None, problems), ""):
            yield LocatedError(("deadlines", index, "by"), problem)


def _over_share(deadlines: Sequence[DeadlineTable], today: date, platform: str, allowed: int) -> str:
    """Return why `allowed` refreshes of a connection a day do not suffice for some deadlines; empty if they do."""
    for days in range(1, _WEEK + 1):
        needed = max(_needed(deadlines, platform, run) for run in {run for _, run in _runs(deadlines, today, days)})
        if needed > allowed * days:
            time = "a day" if days == 1 else f"in {days} days"
            return (
                f"expected deadlines that budget.refreshes_per_connection allows: {platform} needs {needed} refreshes "
                f"{time} for those up to here, and gets {allowed * days}"
            )
    return ""


def _over_cap(
    deadlines: Sequence[DeadlineTable], today: date, platform: str, cap: Money, prices: Mapping[str, Money]
) -> str:
    """Return why a cap on spending does not even suffice for one connection; empty if it does."""
    months = {run for day, run in _runs(deadlines, today, _SHORTEST_MONTH) if day.day == 1}
    needed = max(_needed(deadlines, platform, run) for run in months)
    if needed * prices[platform].amount <= cap.amount:
        return ""
    return (
        f"expected deadlines that budget.spending allows: one connection to {platform} needs {needed} refreshes in "
        f"{_SHORTEST_MONTH} days for those up to here, of {prices[platform].amount:g} {cap.currency} each"
    )


def _runs(deadlines: Sequence[DeadlineTable], today: date, length: int) -> Iterator[tuple[date, _Run]]:
    """Yield each run of `length` consecutive days, with its first day."""
    dates = examined((each.parsed_days for each in deadlines), today)
    on = [
        frozenset(number for number, each in enumerate(deadlines) if is_one_of(each.parsed_days, day, frozenset()))
        for day in dates
    ]
    for first in range(len(dates) - length + 1):
        if dates[first + length - 1] - dates[first] == (length - 1) * DAY:
            yield dates[first], tuple(on[first : first + length])


def _always_closed(deadline: DeadlineTable, policy: Policy, today: date) -> str:
    """Return why windows forbid every refresh that could meet a deadline; empty if they do not."""
    # Where companies' tags name their zones, all tables hold in the same.
    in_one_zone = policy.local_time.time_zone_tag is not None
    covering = [window for window in policy.windows if _covers(window, deadline)]
    closed = tuple(window.window_in(values.UTC if in_one_zone else window.time_zone) for window in covering)
    days = Days(days=deadline.parsed_days, zone=values.UTC if in_one_zone else deadline.time_zone)
    for day in filter(days.include, examined((days.days, *(window.days for window in closed)), today)):
        at: datetime = days.moment(day, deadline.by)
        opens_at = next_allowed(closed, at - deadline.fresh_within)
        if opens_at is None or opens_at >= at:
            names = ", ".join(repr(window.name) for window in covering)
            return f"expected a time before which a refresh may be queued, but the windows {names} forbid it"
    return ""


def _covers(window: WindowTable, deadline: DeadlineTable) -> bool:
    """Return whether a window applies to everything that a deadline applies to."""
    data_types = not window.data_types or (deadline.data_types and set(deadline.data_types) <= set(window.data_types))
    platforms = not window.platforms or (
        deadline.platforms
        and all(any(selects(name, platform) for name in window.platforms) for platform in deadline.platforms)
    )
    companies = window.companies in ((), deadline.companies) and window.groups in ((), deadline.groups)
    return bool(data_types and platforms and companies and window.tags.items() <= deadline.tags.items())


def _needed(deadlines: Sequence[DeadlineTable], platform: str, run: _Run) -> int:
    """Return the fewest refreshes of a connection that meet the deadlines on some days.

    A refresh that ends at a deadline also serves the later ones that allow its age. Deadlines that a refresh before
    these days could serve are left out.
    """
    concerning = {
        number: each
        for number, each in enumerate(deadlines)
        if not each.platforms or any(selects(name, platform) for name in each.platforms)
    }
    total = 0
    for data_type in {name for deadline in concerning.values() for name in deadline.data_types} or {""}:
        moments = sorted(
            (day * DAY + timedelta(hours=each.by.hour, minutes=each.by.minute), each.fresh_within)
            for number, each in concerning.items()
            if not each.data_types or data_type in each.data_types
            for day, numbers in enumerate(run)
            if number in numbers
        )
        refreshed: timedelta | None = None
        for at, within in moments:
            if at >= within and (refreshed is None or at - within > refreshed):
                refreshed, total = at, total + 1
    return total
