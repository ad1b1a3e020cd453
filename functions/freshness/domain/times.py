"""Times as this project keeps them: aware, in UTC, to the microsecond."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before everything: the time at which a feed that was never synced became due."""


def in_utc(time: datetime) -> datetime:
    """The same instant in UTC. A time without a zone is one of Codat's, and Codat writes UTC."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no date in UTC") from error


def sortable(time: datetime) -> str:
    """ISO 8601 of fixed width, so that text sorts as time does."""
    return in_utc(time).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _believed(time: datetime, info: ValidationInfo) -> datetime:
    """A time, if it can be one of something that happened: between 1970 and the `by` of the validation's context."""
    by = (info.context or {}).get("by")
    if time <= BEGINNING or (by and time > by):
        raise ValueError(f"{time.isoformat()} is no time at which anything happened")
    return time


def _none_if_never(given: object) -> object:
    return None if isinstance(given, str) and given.startswith("0001-01-01") else given


Instant = Annotated[datetime, AfterValidator(in_utc), AfterValidator(_believed)]
"""A time as Codat writes it: ISO 8601 with up to seven decimals, of which the seventh is dropped."""
InstantIfAny = Annotated[Instant | None, BeforeValidator(_none_if_never)]
"""A time that may be missing, null, or the year 1, which is how .NET writes a time that was never set."""
