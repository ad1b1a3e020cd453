"""Finds promises that no refresh can keep, because of windows, limits or caps on spending.

Each table of the file is checked with a feed that only this table selects. What is promised only to companies that
match several tables is not checked: there may be no such company.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from freshness.domain.companies.company import Company, Connection, ConnectionStatus
from freshness.domain.companies.platforms import KEYS
from freshness.domain.promises.hours import DAY, Interval
from freshness.domain.promises.promise import Promise
from freshness.domain.promises.windows import Window, closed_between, next_allowed
from freshness.policy.feasibility import impossible_deadlines
from freshness.policy.file.days import examined
from freshness.policy.file.schema import Selection, WindowTable
from freshness.policy.file.table import LocatedError, Location
from freshness.policy.policy import Policy

_LONG_AGO = datetime(2026, 1, 5, tzinfo=UTC)
_STEP = timedelta(minutes=15)
_SHORTEST_MONTH = 28 * DAY
_ANY_ID = "00000000-0000-0000-0000-000000000000"
_OTHER = "another data type"


@dataclass(frozen=True, slots=True)
class _Sample:
    """A feed that one table selects."""

    location: Location
    company: Company
    connection: Connection
    data_types: tuple[str, ...]


def impossible(policy: Policy, today: date) -> Iterator[LocatedError]:
    """Yield an error for each table with a promise or a deadline that cannot be kept, from `today` on."""
    yield from impossible_deadlines(policy, today)
    known: set[str] = set()
    for sample in _samples(policy):
        for data_type in sample.data_types:
            promise = policy.promise(data_type, sample.company, sample.connection)
            problem = "" if promise.off else _problem(policy, promise, sample.connection, today)
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


def _problem(policy: Policy, promise: Promise, connection: Connection, today: date) -> str:
    """Return why a promise cannot be kept; empty if it can."""
    by_windows = _closed(promise, today) if promise.windows else ""
    return by_windows or _over_limits(policy, promise, connection)


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
    needed = math.floor(_SHORTEST_MONTH / promise.fresh_within)
    if needed * price.amount <= cap.amount:
        return ""
    reason = f"one data type needs {needed} refreshes in 28 days, of {price.amount:g} {price.currency} each"
    return f"expected a cap that allows {_promised(promise)}: {reason}"


def _text(length: timedelta) -> str:
    hours, minutes = divmod(length // timedelta(minutes=1), 60)
    numbers = ((hours, "hour"), (minutes, "minute"))
    return " ".join(f"{number} {unit}{'s' * (number > 1)}" for number, unit in numbers if number)
