"""The tables and keys of the policy file, as pydantic models. `docs/policy.md` is written from their docstrings."""

from datetime import date
from typing import Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from freshness.domain.companies.company import Company, Connection
from freshness.domain.data_types import custom_identifier
from freshness.domain.promises.calendar_days import DayOfMonth
from freshness.domain.promises.terms import TERMS
from freshness.domain.promises.windows import Window
from freshness.policy.file import values
from freshness.policy.file.local_time import Timing
from freshness.policy.file.money import AmountAMonth
from freshness.policy.file.table import LocatedError, Location, Table


class Terms(Table):
    """The terms of a promise. A key that a table does not set is taken from the last earlier table that sets it."""

    fresh_within: values.Age | None = None
    """The promise: the data is never older than this. Refreshes are queued early enough for that."""
    warn_after: values.Duration | None = None
    """The age at which the `DataTooOld` alarm is raised; never, by default.

    Below `fresh_within`, it warns while the promise is still kept, and refreshes are queued early enough for it. If a
    later table sets `fresh_within` alone, `warn_after` is at least that.
    """
    confidence: float | None = Field(None, gt=0, lt=1, strict=True)
    """Refresh early, once the probability that nothing changed at the source is below this; not by default.

    How often each data type of each company changes is learned from its syncs.
    """
    at_most_every: values.Duration | None = None
    """The minimum time between a sync and a refresh that `confidence` causes; 1 hour by default."""
    weight: values.Weight | None = None
    """The priority of a feed if the budget does not suffice for all; 1 by default."""
    quiet_after: values.Duration | None = None
    """After how long without a change one event is published and the state is `quiet`; never, by default."""
    off: values.Flag | None = None
    """Whether the data is never refreshed."""
    objective: float | None = Field(None, gt=0, lt=1, strict=True)
    """The share of promised time in which data is to be that fresh; `./freshness report` shows how much is.

    It is set in the table of `fresh_within`, or in a rule whose data types set that.
    """

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.fresh_within and self.at_most_every and self.at_most_every > self.fresh_within:
            raise ValueError("expected at_most_every not to be longer than fresh_within")
        if self.off and self.fresh_within and not isinstance(self, Default):
            raise LocatedError(("off",), "expected either off or fresh_within: what is off is never refreshed")
        if self.objective and not self._sets_fresh_within:
            raise ValueError(
                "expected fresh_within in the same table as objective: attainment is measured by the table that sets it"
            )
        return self

    @property
    def _sets_fresh_within(self) -> bool:
        return self.fresh_within is not None

    @property
    def specified(self) -> dict[str, Any]:
        """The terms that this table sets, by key."""
        return {key: value for key in Terms.model_fields if (value := getattr(self, key)) is not None}


class Default(Terms):
    """The terms for all data that Codat has of all companies, unless a later table says otherwise."""

    fresh_within: values.Age


class CompanySelection(Table):
    """A selection of companies: those that match every given criterion."""

    companies: tuple[values.CompanyId, ...] = Field((), min_length=1)
    """Codat's ids of the companies."""
    groups: tuple[values.CompanyId, ...] = Field((), min_length=1)
    """Codat's ids of parent companies: a company is in the group of its parent, and in its own."""
    tags: dict[values.Name, str] = Field(default_factory=dict, min_length=1)
    """Codat's tags of the companies, by name. A company must have all of them."""

    def matches_company(self, company: Company) -> bool:
        if self.companies and company.company_id not in self.companies:
            return False
        if self.groups and company.company_id not in self.groups and company.parent_id not in self.groups:
            return False
        return all(company.tags.get(name) == value for name, value in self.tags.items())


class Selection(CompanySelection):
    """A selection of companies and of their connections."""

    platforms: tuple[values.Name, ...] = Field((), min_length=1)
    """The platforms of the connections: their `integrationKey`, their name, or the beginning of it."""

    def matches(self, company: Company, connection: Connection) -> bool:
        return (not self.platforms or any(map(connection.is_on, self.platforms))) and self.matches_company(company)


class Rule(Selection, Timing, Terms):
    """The terms for the connections that match all criteria: companies, groups, tags and platforms.

    A rule may set any key of `[default]`, for all data types or for those that it names.
    """

    name: values.Name
    """What the rule is called in output."""
    hours: values.TimesOfDay | None = None
    """The time of day at which the rule holds; always by default. Such a rule needs no other criterion.

    Refreshes start early enough for a tighter promise to hold from its first minute.
    """
    read_once: values.Flag | None = None
    """Whether each data type is read only once through the rule's connections. These may lapse then: nobody need
    relink."""
    consent: values.Duration | None = None
    """How long customers' consent lasts from the last time that a connection became linked; no end by default.

    `Relink due soon` is published 7 days before it ends, and the page and `./freshness status` show it.
    """
    data_types: dict[values.DataType, Terms] = Field(default_factory=dict, min_length=1)
    """What holds for some data types. It takes precedence over the rule's other keys."""

    @property
    def _sets_fresh_within(self) -> bool:
        return any(terms.fresh_within for terms in (self, *self.data_types.values()))

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not (self.companies or self.groups or self.tags or self.platforms or self.hours):
            raise ValueError(
                "expected at least one of companies, groups, tags, platforms, hours; [default] is for all companies"
            )
        if not (self.specified or self.data_types or self.read_once is not None or self.consent):
            raise ValueError(
                f"expected at least one of {', '.join(Terms.model_fields)}, read_once, consent, data_types"
            )
        return self

    @model_validator(mode="after")
    def _timing_is_that_of_hours(self) -> Self:
        if not self.hours:
            for key in ("days", "time_zone", "calendar"):
                if key in self.model_fields_set:
                    raise LocatedError((key,), 'expected it with hours only; a whole day is hours = "00:00 to 24:00"')
            return self
        for key in ("read_once", "consent"):
            if getattr(self, key) is not None:
                raise LocatedError((key,), f"expected no {key} with hours: it may not depend on the time of day")
        tables: list[tuple[Location, Terms]] = [((), self)]
        tables += [(("data_types", data_type), terms) for data_type, terms in self.data_types.items()]
        for location, terms in tables:
            for key in terms.specified.keys() - set(TERMS):
                is_off = key == "off"
                advice = "a window restricts when to refresh" if is_off else "it may not depend on the time of day"
                raise LocatedError((*location, key), f"expected no {key} with hours: {advice}")
        return self


class DeadlineTable(Selection, Timing):
    """The greatest age of data at one moment. One refresh, started early enough for a slow sync, serves it.

    Not all companies are refreshed at once, and none so early that its data is too old at that moment. Criteria and
    days are those of a rule.
    """

    name: values.Name
    """What the deadline is called in output."""
    by: values.TimeOfDay
    """The local time of the deadline."""
    fresh_within: values.Age
    """The maximum age of the data at that time."""
    data_types: tuple[values.DataType, ...] = Field((), min_length=1)
    """The data types that it applies to; all by default."""

    def applies(self, data_type: str, company: Company, connection: Connection) -> bool:
        return (not self.data_types or data_type in self.data_types) and self.matches(company, connection)


class WindowTable(Selection, Timing):
    """A time of day: refreshes are queued only within it (`only`), or only outside it (`never`).

    Criteria and days are those of a rule. A refresh that would be due while none may be queued is queued before. What a
    person requests is queued at any time. A window belongs to the day on which it starts. It also holds on holidays,
    unless it sets `calendar` or names business days.
    """

    name: values.Name
    """What the window is called in output."""
    only: values.TimesOfDay | None = None
    """Queue refreshes only during this time: "22:00 to 06:00"."""
    never: values.TimesOfDay | None = None
    """Queue no refresh during this time."""
    data_types: tuple[values.DataType, ...] = Field((), min_length=1)
    """The data types that the window applies to; all by default."""

    @model_validator(mode="after")
    def _sets_only_or_never(self) -> Self:
        if (self.only is None) == (self.never is None):
            raise ValueError('expected either only or never, such as never = "01:00 to 03:00"')
        return self

    def applies(self, data_type: str, company: Company, connection: Connection) -> bool:
        return (not self.data_types or data_type in self.data_types) and self.matches(company, connection)

    @property
    def has_holidays(self) -> bool:
        """Whether the window depends on which days are holidays."""
        return self.calendar is not None or any(
            isinstance(day, DayOfMonth) and not day.counts_holidays for day in self.parsed_days
        )

    def window_in(self, zone: ZoneInfo, holidays: frozenset[date] = frozenset()) -> Window:
        """Return the window in a time zone, without the criteria that select its feeds."""
        start, end = self.only or self.never or values.WHOLE_DAY
        return Window(
            name=self.name,
            allows=self.only is not None,
            start=start,
            end=end,
            days=self.parsed_days,
            zone=zone,
            holidays=holidays,
        )


class ConsistencySet(CompanySelection):
    """Data types that a report needs together. When one of them is due, all of them are refreshed.

    Criteria are `companies`, `groups` and `tags`.
    """

    name: values.Name
    """What the set is called in output."""
    data_types: tuple[values.DataType, ...] = Field(min_length=2)
    """The data types, each in one set only."""
    within: values.Duration
    """The maximum time between their syncs. A data type that was synced within it is not refreshed again."""


class Product(Table):
    """A custom product of Codat, by its identifier. One call refreshes its data types, if several are due.

    That is for the companies that have the product. Codat's standard products, such as Lending, cannot be refreshed
    this way.
    """

    data_types: tuple[values.DataType, ...] = Field(min_length=1)
    """The data types of the product; no custom ones."""

    @model_validator(mode="after")
    def _has_no_custom_data_types(self) -> Self:
        for data_type in self.data_types:
            if custom_identifier(data_type):
                raise LocatedError(("data_types",), f"expected no custom data type, but got {data_type!r}")
        return self


class CodatTable(Table):
    """The account at Codat that the policy is for."""

    account: str = Field("", min_length=1)
    """The account's name in Codat's profile; any by default. With the key of another account, such as a test instance,
    nothing is read or queued, and an alarm is raised. `./freshness doctor` shows the name. Only a deployment changes
    it."""


class Requests(Table):
    """Requests for fresh data, by the API or `./freshness ensure`."""

    keep_requests: values.Retention = values.SHORTEST_RETENTION
    """How long each request is kept with its answer, at least 7 days: who asked, what for, when, and the data's state.

    If this is set, requests that are satisfied at once are kept too. `./freshness receipt ID` shows one.
    """


class Budget(Table):
    """The share of the limits of Codat and of the platforms that may be used."""

    share_of_quota: float = Field(0.8, gt=0, le=1, strict=True)
    """The share of Codat's daily quota of calls that may be used, spread over the day."""
    on_demand_share: float = Field(0.1, ge=0, le=1, strict=True)
    """The part of that share which is reserved for callers who wait for fresh data, at any time of the day."""
    calls_per_minute: int = Field(600, ge=1, le=1000, strict=True)
    """Codat may block an IP address that makes more than 1,000 calls a minute."""
    refreshes_per_connection: dict[values.Name, values.Count] = Field(default_factory=dict)
    """The maximum number of refreshes of one connection in a day, by platform."""
    spending: dict[values.Name, AmountAMonth] = Field(default_factory=dict)
    """The maximum to spend on refreshes in a month, by platform."""
