"""The notation of days in the policy file."""

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated

from pydantic import BeforeValidator

from freshness.domain.promises.calendar_days import BUSINESS_DAYS, WEEKDAYS, Day, DayOfMonth, repeat_weekly
from freshness.domain.promises.hours import DAY
from freshness.domain.promises.windows import LONGEST_HORIZON
from freshness.policy.file.values import nearest, quoted

_SEVERAL_DAYS = {
    **dict.fromkeys(("weekday", "workday", "working day", "business day"), WEEKDAYS[:5]),
    "weekend": WEEKDAYS[5:],
    **dict.fromkeys(("every day", "daily", "all day"), WEEKDAYS),
}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
_MOST = {"day": 31, "business day": 23, **dict.fromkeys(WEEKDAYS, 5)}
"""The most of each that a month may have."""
_ENDINGS = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
_NUMBERED = {f"{number}{_ENDINGS.get(number, 'th')}": number for number in range(1, 32)}
MONTH_END = "month end"


def parse_day(text: str) -> Day:
    """Return the day that a text means, such as "Monday", "1st", "last business day of the month" or "2026-12-24".

    Raises:
        ValueError: the text means no day.
    """
    if text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        return date.fromisoformat(text)
    if text == MONTH_END:
        return DayOfMonth(-1, text=text)
    ordinal, _, unit = text.removesuffix(" of the month").partition(" ")
    number = _ORDINALS.get(ordinal) or _NUMBERED.get(ordinal)
    unit = unit or ("day" if ordinal in _NUMBERED else "")
    if number is None or number > _MOST.get(unit, 0):
        raise ValueError("no such day")
    if unit == "day":
        return DayOfMonth(number, text=text)
    if unit == "business day":
        return DayOfMonth(number, BUSINESS_DAYS, counts_holidays=False, text=text)
    return DayOfMonth(number, frozenset({WEEKDAYS.index(unit)}), text=text)


def _day(value: object) -> str:
    text = value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value
    try:
        if not isinstance(text, str):
            raise ValueError("no text")
        parse_day(text)
    except ValueError:
        name = text.removesuffix(" of the month") if isinstance(text, str) else ""
        several = several_days(name)
        meant = "" if several else nearest(name, _names())
        hint = f"; write {several}" if several else f"; did you mean {meant!r}?" if meant else ""
        expected = 'expected a day such as "Monday", "1st", "last business day of the month" or "2026-12-24"'
        raise ValueError(f"{expected}, got {quoted(value)}{hint}") from None
    return text


def several_days(text: str) -> list[str]:
    """Return the days of the week that a name such as "Weekdays" means; empty if it is no such name."""
    return list(_SEVERAL_DAYS.get(text.casefold().removesuffix("s"), ()))


def _names() -> list[str]:
    units = ("day", "business day", *WEEKDAYS)
    return [*WEEKDAYS, MONTH_END, *_NUMBERED, *(f"{ordinal} {unit}" for ordinal in _ORDINALS for unit in units)]


DayName = Annotated[str, BeforeValidator(_day)]

_A_MONDAY = date(2027, 2, 1)
"""In winter, and the first of a month."""
_FIVE_WEEKS = 35
_LONGEST_MONTH = 31
_LAST = date(9999, 12, 1)
"""No date from this on is examined: Python has no dates after the year."""


def examined(days: Iterable[frozenset[Day]], today: date) -> list[date]:
    """Return dates that show every case of the days, in order: five weeks, if all are days of the week.

    Otherwise they are the dates from `today` on that a promise can depend on, and those around each later date.
    """
    every = frozenset[Day]().union(*days)
    if repeat_weekly(every):
        return [_A_MONDAY + number * DAY for number in range(_FIVE_WEEKS)]
    numbers = {today.toordinal() + number for number in range(LONGEST_HORIZON.days)}
    for each in every:
        if isinstance(each, date):
            numbers.update(range(each.toordinal() - _LONGEST_MONTH, each.toordinal() + _LONGEST_MONTH + 1))
    return [date.fromordinal(number) for number in sorted(numbers) if today.toordinal() <= number < _LAST.toordinal()]
