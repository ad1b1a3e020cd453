"""Conversion and validation of times. All times are timezone-aware, in UTC, with microseconds."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""The time at which a feed that was never synced is due: before all others."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""How much our own clock and Codat's may differ. A time from Codat that is further in the future is wrong."""


def in_utc(time: datetime) -> datetime:
    """Return the same instant in UTC. A time without a time zone is taken as UTC, which is what Codat sends.

    Raises:
        ValueError: the instant is out of the range of `datetime` in UTC.
    """
    if time.tzinfo is UTC:
        return time
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a time that can be converted to UTC") from error


def midnight(time: datetime) -> datetime:
    """Return when the day of a time began, in UTC."""
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def sortable(time: datetime) -> str:
    """Return a time as ISO 8601 of fixed width, so that the order of the texts is the order of the times."""
    return in_utc(time).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _plausible(time: datetime, info: ValidationInfo) -> datetime:
    """Raise `ValueError` for a time up to 1970-01-01, or later than `by` of the validation context, if given."""
    by = (info.context or {}).get("by")
    if time <= BEGINNING or (by and time > by):
        raise ValueError(f"{time.isoformat()} is not plausible: expected a time after 1970 and not in the future")
    return time


def _none_if_unset(given: object) -> object:
    return None if isinstance(given, str) and given.startswith("0001-01-01") else given


Instant = Annotated[datetime, AfterValidator(in_utc), AfterValidator(_plausible)]
"""A time in Codat's format: ISO 8601 with up to seven decimals. The seventh is dropped."""
InstantIfAny = Annotated[Instant | None, BeforeValidator(_none_if_unset)]
"""A time that may be missing, null, or in the year 1: .NET's default for a time that was never set."""
