"""The API's responses, as values. The API's own models, in `freshness.app.api.models`, add what is not for clients."""

from datetime import datetime, timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from freshness.api_client.errors import FreshnessError


class Answer(BaseModel):
    """A response. Fields that a newer API adds are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, defer_build=True)


class DataTypeResult(Answer):
    """One data type of a request, from one connection. The times and the age are those of Codat's copy."""

    data_type: str
    connection_id: str
    state: str
    """`fresh`, `stale`, `failed` or `needs-person`."""
    as_of: datetime | None = Field(description="When the read of the copy was requested.")
    as_of_is_estimated: bool = Field(description="Whether only the end of that read is known.")
    age: timedelta | None = Field(description="Seconds since asOf.")
    refreshed_at: datetime | None = Field(description="When that read ended.")
    records_modified: bool | None = Field(description="Whether that read changed anything, null if it is not known.")
    dataset_id: str = Field(description="Codat's id of that read, empty if it is not known.")
    link_url: str = Field(
        description="Where the customer authorises the connection again, read from Codat for this response; empty "
        "unless that is needed, or if Codat could not be asked."
    )
    reason: str = Field(description="Why it is not fresh, empty if it may still become so.")

    @property
    def is_fresh(self) -> bool:
        """Return whether the data type is as fresh as asked."""
        return self.state == "fresh"


class Result(Answer):
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


class DataTypeFreshness(Answer):
    """How fresh one data type of a company is, from one connection."""

    data_type: str
    connection_id: str
    platform: str
    state: str
    as_of: datetime | None = Field(description="When the read of the copy was requested.")
    as_of_is_estimated: bool = Field(description="Whether only the end of that read is known.")
    refreshed_at: datetime | None = Field(None, description="When that read ended.")
    age: timedelta | None = Field(description="Seconds since refreshedAt, from which the promise counts.")
    promise: timedelta = Field(description="The greatest age that the policy promises, in seconds.")
    keeps_promise: bool
    due_at: datetime | None = Field(description="When its next refresh is due.")
    probability_up_to_date: float | None = Field(description="That nothing changed at the source since asOf.")
    quiet_since: datetime | None = Field(
        description="Since when nothing changed at the source, null unless that is `quiet_after` or longer."
    )
    obstacle: str = Field(description="Why it cannot be fresh, empty if it can.")
    codat_says: str = Field(description="What Codat says of why it is in this state, in its words; empty if nothing.")


class CompanyFreshness(Answer):
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
