"""Validation of EventBridge Scheduler's cron expressions, which AWS itself checks only while it deploys."""

import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
WEEKDAYS = "SUN MON TUE WED THU FRI SAT".split()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a cron expression: its range, the names of its values, and the special forms that it may have."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    """The names of the values from `first` on."""
    special: str = "(?!)"
    """A pattern of special forms of one part, such as `L`, the last day of the month."""

    def check(self, text: str) -> None:
        """Raise a ValueError that says what is wrong with the field, if anything is."""
        for part in text.split(","):
            if re.fullmatch(self.special, part):
                if part == "?" and text != "?":
                    raise ValueError(f"{self.name}: ? must be alone")
                continue
            span, slash, step = part.partition("/")
            if slash and not (step.isdecimal() and 1 <= int(step) <= self.last):
                raise ValueError(f"{self.name}: a step is a number from 1 to {self.last}, not {step!r}")
            if span == "*":
                continue
            values = [self._value(value) for value in span.split("-", 1)]
            if any(start > end for start, end in pairwise(values)):
                raise ValueError(f"{self.name}: the range {span} ends before it starts")

    def values(self, text: str) -> list[int]:
        """Return the values that a valid text includes, in order. A special form includes all values."""
        found: set[int] = set()
        for part in text.split(","):
            if re.fullmatch(self.special, part):
                return list(range(self.first, self.last + 1))
            span, slash, step = part.partition("/")
            bounds = [self.first, self.last] if span == "*" else [self._value(each) for each in span.split("-", 1)]
            last = bounds[-1] if len(bounds) > 1 or not slash else self.last
            found.update(range(bounds[0], last + 1, int(step or "1")))
        return sorted(found)

    def _value(self, text: str) -> int:
        value = self.first + self.names.index(text) if text in self.names else int(text) if text.isdecimal() else -1
        if not self.first <= value <= self.last:
            names = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
            raise ValueError(f"{self.name}: {self.first}-{self.last}{names} expected, not {text!r}")
        return value


FIELDS = (
    Field("minutes", 0, 59),
    Field("hours", 0, 23),
    Field("day of month", 1, 31, special=r"\?|L|LW|([1-9]|[12]\d|3[01])W"),
    Field("month", 1, 12, tuple(MONTHS)),
    Field("day of week", 1, 7, tuple(WEEKDAYS), special=rf"\?|L|([1-7]|{'|'.join(WEEKDAYS)})(L|#[1-5])"),
    Field("year", 1970, 2199),
)


def validated(expression: str) -> str:
    """Check a cron expression, and return it unchanged.

    Raises:
        ValueError: it is invalid. The message says which field is, and what was expected.
    """
    match = re.fullmatch(r"cron\(([^()]*)\)", expression)
    if match is None:
        raise ValueError("cron(minutes hours day-of-month month day-of-week year) expected")
    texts = match[1].split(" ")
    if len(texts) != len(FIELDS) or "" in texts:
        raise ValueError(f"{len(FIELDS)} fields with one space between them expected, not {len(texts)}")
    if [texts[2], texts[4]].count("?") != 1:
        raise ValueError("either the day of month or the day of week must be ?, and only one of them")
    for field, text in zip(FIELDS, texts, strict=True):
        field.check(text)
    return expression


def longest_gap(expression: str) -> timedelta:
    """Return the longest time between two runs of a valid expression within a week.

    Days of the month, months and years are left out: they can only make it longer.
    """
    minutes, hours, _, _, weekdays, _ = (
        field.values(text) for field, text in zip(FIELDS, expression.removeprefix("cron(")[:-1].split(" "), strict=True)
    )
    runs = [timedelta(days=day, hours=hour, minutes=minute) for day in weekdays for hour in hours for minute in minutes]
    return max(later - earlier for earlier, later in pairwise([*runs, runs[0] + timedelta(weeks=1)]))
