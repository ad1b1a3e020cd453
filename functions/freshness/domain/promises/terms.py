"""The parts of a promise that depend on the time of day: terms that hold during some hours, and deadlines."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import NamedTuple

from freshness.domain.promises.hours import Days, Hours, days_text

TERMS = ("fresh_within", "warn_after", "confidence", "at_most_every", "weight")
"""The terms that may depend on the time of day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTerms:
    """Terms that replace those of a promise during some hours. A term that is `None` is not replaced."""

    hours: Hours
    source: str
    """The rule that sets them, with its file and line."""
    fresh_within: timedelta | None = None
    warn_after: timedelta | None = None
    confidence: float | None = None
    at_most_every: timedelta | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline(Days):
    """A time of day at which a copy may be no older than `fresh_within`."""

    name: str
    by: time
    fresh_within: timedelta
    source: str
    """Where the policy sets it, by file and line."""

    def __str__(self) -> str:
        return f"by {self.by:%H:%M} {days_text(self)}"


class Moment(NamedTuple):
    at: datetime
    deadline: Deadline
