"""Times as this project keeps them: aware, in UTC, to the microsecond."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before everything: the time at which a row that was never synced became due."""


def in_utc(time: datetime) -> datetime:
    """The same instant in UTC. A time without a zone is one of Codat's, and Codat writes UTC."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no date in UTC") from error


def sortable(time: datetime) -> str:
    """ISO 8601 of fixed width, so that text sorts as time does."""
    return in_utc(time).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


Instant = Annotated[datetime, AfterValidator(in_utc)]
"""A time as Codat writes it: ISO 8601 with up to seven decimals, of which the seventh is dropped."""
