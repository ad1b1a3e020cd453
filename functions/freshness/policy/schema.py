"""The tables of the policy file, and how they add up to a promise.

Every table is described once, here; `freshness.toml` shows each in use.
"""

from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from freshness.domain.company import Company, Connection
from freshness.domain.windows import Window
from freshness.policy import values

Location = tuple[str | int, ...]


class MisplacedError(ValueError):
    """A mistake that is found where tables are compared, with the location of the one to be changed."""

    def __init__(self, location: Location, message: str) -> None:
        super().__init__(message)
        self.location = location


class Table(BaseModel):
    """Any table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Terms(Table):
    """What can be said of feeds. What a table does not say, less specific tables that match the feed as well do."""

    fresh_within: values.Duration | None = None
    """How old the data may be."""
    warn_after: values.Duration | None = None
    """The age at which a person is to be told; not below `fresh_within`."""
    confidence: float | None = Field(None, gt=0, lt=1, strict=True)
    """Refresh already when it is less likely than this that nothing has changed at the source."""
    at_most_every: values.Duration | None = None
    """How soon after a sync `confidence` may ask for another; 1 hour if no table says."""
    weight: values.Weight | None = None
    """How much it counts where the budget does not reach for all; 1 if no table says."""
    off: values.Flag | None = None
    """Never refresh it."""

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.fresh_within and self.warn_after and self.warn_after < self.fresh_within:
            raise ValueError("expected warn_after not to be shorter than fresh_within")
        if self.fresh_within and self.at_most_every and self.at_most_every > self.fresh_within:
            raise ValueError("expected at_most_every not to be longer than fresh_within")
        return self

    @property
    def said(self) -> dict[str, Any]:
        """What this table says, by key."""
        return {key: value for key in Terms.model_fields if (value := getattr(self, key)) is not None}


class Default(Terms):
    """What is said of all feeds."""

    fresh_within: values.Duration


class CompanySelection(Table):
    """Which companies something is said of: those that match all that is given."""

    companies: tuple[values.CompanyId, ...] = ()
    """Their ids."""
    tags: dict[str, str] = {}
    """Tags that they have, all of them, at Codat."""

    def matches_company(self, company: Company) -> bool:
        """Whether a company is meant."""
        return (not self.companies or company.company_id in self.companies) and all(
            company.tags.get(name) == value for name, value in self.tags.items()
        )


class Selection(CompanySelection):
    """Which companies something is said of, and which of their connections."""

    platforms: tuple[str, ...] = ()
    """The platforms of the connections, by Codat's names of them."""

    def matches(self, company: Company, connection: Connection) -> bool:
        """Whether a connection of a company is meant."""
        return (not self.platforms or connection.platform in self.platforms) and self.matches_company(company)


class Rule(Selection, Terms):
    """What is said of some companies or connections: of all their data types, or of those that it names."""

    name: str = Field(min_length=1)
    data_types: dict[values.DataType, Terms] = {}

    @model_validator(mode="after")
    def _selects_some(self) -> Self:
        if not (self.companies or self.tags or self.platforms):
            raise ValueError("expected at least one of companies, tags, platforms; [default] is for all companies")
        if not (self.said or self.data_types):
            raise ValueError(f"expected at least one of {', '.join(Terms.model_fields)}, data_types")
        return self

    @property
    def specificity(self) -> tuple[bool, int, bool]:
        """What makes one rule win over another."""
        return bool(self.companies), len(self.tags), bool(self.platforms)


class WindowTable(Selection):
    """Times at which refreshes are queued only, or never."""

    name: str = Field(min_length=1)
    only: values.TimesOfDay | None = None
    """They are queued only then: "22:00 to 06:00"."""
    never: values.TimesOfDay | None = None
    """They are never queued then."""
    days: tuple[values.Day, ...] = Field(values.DAYS, min_length=1)
    """The days on which the window starts."""
    time_zone: values.TimeZone = values.UTC
    """Whose clocks show these times."""
    data_types: tuple[values.DataType, ...] = ()
    """The data types that are meant; all if none is named."""

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.only is None) == (self.never is None):
            raise ValueError('expected either only or never, such as never = "01:00 to 03:00"')
        return self

    def applies(self, data_type: str, company: Company, connection: Connection) -> bool:
        """Whether a data type of a company, read from one of its connections, is meant."""
        return (not self.data_types or data_type in self.data_types) and self.matches(company, connection)

    @cached_property
    def window(self) -> Window:
        """The window itself."""
        start, end = self.only or self.never or values.WHOLE_DAY
        days = frozenset(values.DAYS.index(day) for day in self.days)
        return Window(
            name=self.name, allows=self.only is not None, start=start, end=end, days=days, zone=self.time_zone
        )


class ConsistencySet(CompanySelection):
    """Data types that a report needs together: whenever one of them is due, all are refreshed."""

    name: str = Field(min_length=1)
    data_types: tuple[values.DataType, ...] = Field(min_length=2)
    within: values.Duration
    """How far apart their syncs may lie. One that was synced that lately is not refreshed again."""


class Budget(Table):
    """How much of what Codat and the platforms allow may be spent."""

    share_of_quota: float = Field(0.8, gt=0, le=1, strict=True)
    """The part of Codat's daily quota of calls that is this system's, spread over the day."""
    calls_per_minute: int = Field(600, ge=1, le=1000, strict=True)
    """Codat may block an address that makes more than 1,000."""
    refreshes_per_connection: dict[str, values.Count] = {}
    """How many refreshes a day one connection may get, by platform."""
