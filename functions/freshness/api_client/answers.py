"""The API's responses, as values. Fields that a newer API adds are ignored."""

from datetime import datetime, timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from freshness.api_client.errors import FreshnessError


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class DataTypeResult(_Answer):
    """One data type of a request, from one connection. The times and the age are those of Codat's copy."""

    data_type: str
    connection_id: str
    state: str
    """`fresh`, `stale`, `failed` or `needs-person`."""
    as_of: datetime | None
    """When the read of the copy was requested."""
    as_of_is_estimated: bool
    age: timedelta | None
    refreshed_at: datetime | None
    records_modified: bool | None
    dataset_id: str
    link_url: str
    """Where the customer authorises the connection again."""
    reason: str
    """Why the data type is not fresh."""

    @property
    def is_fresh(self) -> bool:
        """Return whether the data type is as fresh as asked."""
        return self.state == "fresh"


class Result(_Answer):
    """How a request ended."""

    id: str | None
    company_id: str
    done: bool
    not_before: datetime
    """The data was to be as of this time or later."""
    deadline: datetime
    data_types: tuple[DataTypeResult, ...]

    @property
    def is_fresh(self) -> bool:
        """Return whether everything is as fresh as asked."""
        return all(each.is_fresh for each in self.data_types)

    def as_of(self, data_type: str) -> datetime | None:
        """Return the time that a data type is as of: the earliest of its connections, `None` if one has no copy.

        Raises:
            KeyError: the data type was not asked for.
        """
        times = [each.as_of for each in self.data_types if each.data_type == data_type]
        if not times:
            raise KeyError(data_type)
        known = [each for each in times if each]
        return min(known) if len(known) == len(times) else None

    def raise_if_not_fresh(self) -> Self:
        """Return the result.

        Raises:
            NotFresh: not everything is as fresh as asked.
        """
        if not self.is_fresh:
            raise NotFresh(self)
        return self


class DataTypeFreshness(_Answer):
    """How fresh one data type of a company is, from one connection."""

    data_type: str
    connection_id: str
    platform: str
    state: str
    as_of: datetime | None
    as_of_is_estimated: bool
    refreshed_at: datetime | None = None
    age: timedelta | None
    promise: timedelta
    keeps_promise: bool
    due_at: datetime | None
    probability_up_to_date: float | None
    quiet_since: datetime | None
    obstacle: str
    codat_says: str


class CompanyFreshness(_Answer):
    """How fresh each data type of a company is."""

    company_id: str
    company_name: str
    data_types: tuple[DataTypeFreshness, ...]


class NotFresh(FreshnessError):
    """A request ended, but not everything is fresh. `result` says how it ended."""

    def __init__(self, result: Result) -> None:
        self.result = result
        late = (f"{each.data_type}: {each.reason or each.state}" for each in result.data_types if not each.is_fresh)
        super().__init__("; ".join(late))
