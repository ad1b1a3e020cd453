"""The days that a policy names: days of the week, days of the month, and dates."""

from calendar import monthrange
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EVERY_WEEKDAY = frozenset(range(7))
BUSINESS_DAYS = frozenset(range(5))
"""The days of the week that are business days, unless they are holidays."""


@dataclass(frozen=True, slots=True)
class DayOfMonth:
    """One day of each month: the `number`-th, or the last, of the days that count. Some months may not have it."""

    number: int
    """From 1 for the first; -1 for the last."""
    weekdays: frozenset[int] = EVERY_WEEKDAY
    """The days of the week that count."""
    counts_holidays: bool = True
    text: str = field(default="", compare=False)
    """How the policy writes it."""

    def __str__(self) -> str:
        return self.text

    def in_month(self, year: int, month: int, holidays: Set[date]) -> date | None:
        """Return the date of the day in a month; `None` if the month has no such day."""
        _, length = monthrange(year, month)
        days = [
            day
            for day in (date(year, month, number) for number in range(1, length + 1))
            if day.weekday() in self.weekdays and (self.counts_holidays or day not in holidays)
        ]
        if len(days) < abs(self.number):
            return None
        return days[self.number - 1 if self.number > 0 else self.number]


Day = int | date | DayOfMonth
"""A day of the week from 0 for Monday, a date, or a day of each month."""


@lru_cache(maxsize=4096)
def is_one_of(days: frozenset[Day], day: date, holidays: frozenset[date]) -> bool:
    """Return whether a date is one of the days. A holiday never is."""
    if day in holidays:
        return False
    of_month = (each for each in days if isinstance(each, DayOfMonth))
    return (
        day.weekday() in days
        or day in days
        or any(each.in_month(day.year, day.month, holidays) == day for each in of_month)
    )


def repeat_weekly(days: frozenset[Day]) -> bool:
    """Return whether all days are given as days of the week, so that every week is the same."""
    return all(isinstance(each, int) for each in days)
