"""Finds promises and deadlines that no refresh can keep, because of windows, limits or caps on spending.

For promises, each table of the file is checked with a feed that only this table selects. What is promised only to
companies that match several tables is not checked: there may be no such company.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from freshness.domain.companies.company import Company, Connection, ConnectionStatus
from freshness.domain.companies.platforms import KEYS, selects
from freshness.domain.promises.calendar_days import WEEKDAYS, is_one_of
from freshness.domain.promises.hours import DAY, Days, Interval
from freshness.domain.promises.promise import Promise
from freshness.domain.promises.windows import Window, closed_between, next_allowed
from freshness.policy.file import values
from freshness.policy.file.days import examined
from freshness.policy.file.money import Money
from freshness.policy.file.schema import DeadlineTable, Selection, WindowTable
from freshness.policy.file.table import LocatedError, Location
from freshness.policy.policy import Policy

_LONG_AGO = datetime(2026, 1, 5, tzinfo=UTC)
_STEP = timedelta(minutes=15)
_WEEK = len(WEEKDAYS)
_SHORTEST_MONTH = 28
_ANY_ID = "00000000-0000-0000-0000-000000000000"
_OTHER = "another data type"
_Run = tuple[frozenset[int], ...]
"""Consecutive days, each as the numbers of its deadlines."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """A feed that one table selects."""

    location: Location
    company: Company
    connection: Connection
    data_types: tuple[str, ...]


def impossible(policy: Policy, today: date) -> Iterator[LocatedError]:
    """Yield an error for each table with a promise or a deadline that cannot be kept, from `today` on."""
    yield from _impossible_deadlines(policy, today)
    known: set[str] = set()
    for sample in _samples(policy):
        for data_type in sample.data_types:
            promise = policy.promise(data_type, sample.company, sample.connection)
            if promise.off:
                continue
            by_windows = _closed(promise, today) if promise.windows else ""
            problem = by_windows or _over_limits(policy, promise, sample.connection)
            if problem and problem not in known:
                known.add(problem)
                yield LocatedError(sample.location, problem)


def _samples(policy: Policy) -> Iterator[_Sample]:
    """Yield feeds for each window, rule, limit and cap, and one for all other feeds."""
    tables: list[tuple[Location, Selection]] = [
        (("windows", index, "never" if window.never else "only"), window) for index, window in enumerate(policy.windows)
    ]
    tables += [(("rules", index), rule) for index, rule in enumerate(policy.rules)]
    for key in ("refreshes_per_connection", "spending"):
        tables += [(("budget", key, each), Selection(platforms=(each,))) for each in getattr(policy.budget, key)]
    tables.append((("default", "fresh_within"), Selection()))
    named = {*policy.data_types}.union(
        *(rule.data_types for rule in policy.rules), *(window.data_types for window in policy.windows)
    )
    for location, table in tables:
        data_types = table.data_types if isinstance(table, WindowTable) else ()
        for platform in table.platforms or ("",):
            yield _Sample(location, _company(table), _connection(platform), data_types or (_OTHER, *sorted(named)))


def _company(table: Selection) -> Company:
    company_id = next(iter(table.companies), _ANY_ID)
    return Company(company_id=company_id, parent_id=next(iter(table.groups), ""), tags=dict(table.tags))


def _connection(platform: str) -> Connection:
    return Connection(
        connection_id="",
        platform=KEYS.get(platform, platform),
        integration_key=platform if platform in KEYS else "",
        source_type="",
        status=ConnectionStatus.LINKED,
        status_at=_LONG_AGO,
    )


def _closed(promise: Promise, today: date) -> str:
    """Return why the windows of a promise do not allow it to be kept; empty if they do."""
    windows = ", ".join(f'"{window.name}"' for window in promise.windows)
    dates = examined((window.days for window in promise.windows), today)
    if next_allowed(promise.windows, datetime.combine(dates[0], time(), UTC)) is None:
        return f"expected times at which a refresh may be queued, but the windows {windows} leave none; off is for that"
    for start, end in _closed_by_length(promise.windows, dates[0], dates[-1]):
        if at := _broken_at(promise, start, end):
            gap = f"the windows {windows} allow no refresh for {_text(end - start)}"
            return f"expected windows that allow {_promised(promise.at(at))}: {gap}"
    return ""


@lru_cache
def _closed_by_length(windows: tuple[Window, ...], first: date, last: date) -> list[Interval]:
    """Return the intervals in which no refresh may be queued, the longest first."""
    return sorted(closed_between(windows, first, last), key=lambda times: times[0] - times[1])


def _promised(promise: Promise) -> str:
    return f"what {promise.source} promises, {_text(promise.fresh_within)}"


def _broken_at(promise: Promise, start: datetime, end: datetime) -> datetime | None:
    """Return a time at which a copy made at `start` is too old, at `end` at the latest; `None` if there is none.

    No refresh may be queued between the two.
    """
    if promise.time_of_day is None:
        return end if end - start >= promise.fresh_within else None
    times = (start + number * _STEP for number in range(1, math.ceil((end - start) / _STEP) + 1))
    return next((at for at in times if at - start >= promise.at(at).fresh_within), None)


def _over_limits(policy: Policy, promise: Promise, connection: Connection) -> str:
    """Return why a limit does not even suffice for one data type of one connection; empty if all limits suffice."""
    allowed = policy.refreshes_a_day(connection)
    if allowed and promise.fresh_within * allowed < DAY:
        needed = math.ceil(DAY / promise.fresh_within)
        reason = f"one data type needs {needed} refreshes a day, and a connection gets {allowed}"
        return f"expected a limit that allows {_promised(promise)}: {reason}"
    capped = policy.capped_as(connection)
    if capped is None:
        return ""
    cap, price = policy.budget.spending[capped], policy.prices[capped]
    needed = math.floor(_SHORTEST_MONTH * DAY / promise.fresh_within)
    if needed * price.amount <= cap.amount:
        return ""
    reason = f"one data type needs {needed} refreshes in 28 days, of {price.amount:g} {price.currency} each"
    return f"expected a cap that allows {_promised(promise)}: {reason}"


def _text(length: timedelta) -> str:
    hours, minutes = divmod(length // timedelta(minutes=1), 60)
    numbers = ((hours, "hour"), (minutes, "minute"))
    return " ".join(f"{number} {unit}{'s' * (number > 1)}" for number, unit in numbers if number)


def _impossible_deadlines(policy: Policy, today: date) -> Iterator[LocatedError]:
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
        at = days.moment(day, deadline.by)
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
