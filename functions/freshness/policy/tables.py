"""The tables of the policy file, and how they add up to a promise.

Every table is described once, here; `freshness.toml` shows each in use.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from freshness.company import Company, Connection
from freshness.learning import FleetRates
from freshness.policy import words
from freshness.policy.promise import AT_MOST_EVERY, Promise
from freshness.policy.window import Window

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
    """What can be said of rows. What a table does not say, less specific tables that match the row as well do."""

    fresh_within: words.Duration | None = None
    """How old the data may be."""
    warn_after: words.Duration | None = None
    """The age at which a person is to be told; not below `fresh_within`."""
    confidence: float | None = Field(None, gt=0, lt=1, strict=True)
    """Refresh already when it is less likely than this that nothing has changed at the source."""
    at_most_every: words.Duration | None = None
    """How soon after a sync `confidence` may ask for another; 1 hour if no table says."""
    weight: words.Weight | None = None
    """How much it counts where the budget does not reach for all; 1 if no table says."""
    off: words.Flag | None = None
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
    """What is said of all rows."""

    fresh_within: words.Duration


class CompanySelection(Table):
    """Which companies something is said of: those that match all that is given."""

    companies: tuple[words.CompanyId, ...] = ()
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
    data_types: dict[words.DataType, Terms] = {}

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
    only: words.TimesOfDay | None = None
    """They are queued only then: "22:00 to 06:00"."""
    never: words.TimesOfDay | None = None
    """They are never queued then."""
    days: tuple[words.Day, ...] = Field(words.DAYS, min_length=1)
    """The days on which the window starts."""
    time_zone: words.TimeZone = words.UTC
    """Whose clocks show these times."""
    data_types: tuple[words.DataType, ...] = ()
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
        start, end = self.only or self.never or words.WHOLE_DAY
        days = frozenset(words.DAYS.index(day) for day in self.days)
        return Window(
            name=self.name, allows=self.only is not None, start=start, end=end, days=days, zone=self.time_zone
        )


class ConsistencySet(CompanySelection):
    """Data types that a report needs together: whenever one of them is due, all are refreshed."""

    name: str = Field(min_length=1)
    data_types: tuple[words.DataType, ...] = Field(min_length=2)
    within: words.Duration
    """How far apart their syncs may lie. One that was synced that lately is not refreshed again."""


class Budget(Table):
    """How much of what Codat and the platforms allow may be spent."""

    share_of_quota: float = Field(0.8, gt=0, le=1, strict=True)
    """The part of Codat's daily quota of calls that is this system's, spread over the day."""
    calls_per_minute: int = Field(600, ge=1, le=1000, strict=True)
    """Codat may block an address that makes more than 1,000."""
    refreshes_per_connection: dict[str, words.Count] = {}
    """How many refreshes a day one connection may get, by platform."""


@dataclass(frozen=True, slots=True)
class _Place:
    """One table with terms, and which data type it is about, if about one."""

    order: tuple[bool, int, bool, bool, int]
    location: Location
    label: str
    data_type: str | None
    terms: Terms


class Policy(Table):
    """The whole policy file.

    What holds for a row is put together key by key, each key from the most specific table that says it. A rule wins
    over the tables for all companies; a rule that names companies over one that does not; then the one with more
    tags; then the one that names platforms; then a data type named over none; of equals, the later in the file.
    """

    default: Default
    data_types: dict[words.DataType, Terms] = {}
    rules: tuple[Rule, ...] = ()
    windows: tuple[WindowTable, ...] = ()
    sets: tuple[ConsistencySet, ...] = ()
    budget: Budget = Budget()

    _rates: FleetRates = PrivateAttr(default_factory=FleetRates)
    _bounds: Mapping[str, timedelta] = PrivateAttr(default_factory=dict)
    _positions: Mapping[Location, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        kinds: dict[str, tuple[Rule | WindowTable | ConsistencySet, ...]]
        kinds = {"rules": self.rules, "windows": self.windows, "sets": self.sets}
        for kind, tables in kinds.items():
            for index, name in _repeated((index, table.name) for index, table in enumerate(tables)):
                raise MisplacedError((kind, index, "name"), f"expected another name than {name!r}, which one has above")
        types = ((index, name) for index, together in enumerate(self.sets) for name in together.data_types)
        for index, name in _repeated(types):
            location = "sets", index, "data_types"
            raise MisplacedError(location, f"expected {name!r} once, and in one set, but it is named above as well")
        return self

    @cached_property
    def fingerprint(self) -> str:
        """Tells this policy from any that says something else."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @cached_property
    def learns(self) -> bool:
        """Whether anything depends on how often rows change: somewhere a `confidence` is asked for."""
        return any(place.terms.confidence for place in self._places)

    def named_for(self, company: Company) -> set[str]:
        """The data types that are named for a company: they are kept fresh even before Codat tells of them."""
        rules = (
            rule
            for rule in self.rules
            if any(rule.matches(company, connection) for connection in company.connections.values())
        )
        return set(self.data_types).union(*(rule.data_types for rule in rules))

    @property
    def fleet_rates(self) -> FleetRates:
        """What it knows of how often the rows of each platform and data type change."""
        return self._rates

    def knowing(self, rates: FleetRates) -> "Policy":
        """The same policy, whose promises take rows that nothing is known of to change as the fleet does."""
        policy = self._copy()
        policy._rates = rates
        return policy

    def located(self, positions: Mapping[Location, str]) -> "Policy":
        """The same policy, whose promises tell the file and line that each of its tables has."""
        policy = self._copy()
        policy._positions = positions
        return policy

    def _copy(self) -> "Policy":
        policy = self.model_copy()
        vars(policy).pop("_promises", None)
        return policy

    @cached_property
    def _promises(self) -> dict[object, Promise]:
        """Those that were put together already: a tick asks for the same few again and again."""
        return {}

    def bounded(self, data_type: str, fresh_within: timedelta) -> "Policy":
        """The same policy, but for a data type that is nowhere to be older than this."""
        policy = self._copy()
        policy._bounds = {**self._bounds, data_type: fresh_within}
        return policy

    def promise(self, data_type: str, company: Company, connection: Connection) -> Promise:
        """What is promised of a data type of a company, read from one of its connections."""
        key = data_type, connection.platform, self._told_apart(company)
        promise = self._promises.get(key)
        if promise is None:
            promise = self._promises[key] = self._resolved(data_type, company, connection)
        return promise

    def _told_apart(self, company: Company) -> tuple[str | None, ...]:
        """All of a company that rules and windows ask after: those of which it is the same are promised the same."""
        company_ids, tags = self._asked_after
        values = [value if (value := company.tags.get(name)) in asked else None for name, asked in tags.items()]
        return company.company_id if company.company_id in company_ids else None, *values

    @cached_property
    def _asked_after(self) -> tuple[set[str], dict[str, set[str]]]:
        """The ids and the values of tags that rules and windows name."""
        company_ids: set[str] = set()
        tags: dict[str, set[str]] = defaultdict(set)
        for selection in (*self.rules, *self.windows):
            company_ids.update(selection.companies)
            for name, value in selection.tags.items():
                tags[name].add(value)
        return company_ids, tags

    def set_of(self, data_type: str, company: Company) -> ConsistencySet | None:
        """The set in which a data type of a company is needed together with others."""
        together = self._sets.get(data_type)
        return together if together and together.matches_company(company) else None

    def refreshes_a_day(self, connection: Connection) -> int | None:
        """How many refreshes a day a connection may get; `None` if the policy sets no bound."""
        return self.budget.refreshes_per_connection.get(connection.platform)

    @cached_property
    def _sets(self) -> dict[str, ConsistencySet]:
        return {data_type: together for together in self.sets for data_type in together.data_types}

    def _resolved(self, data_type: str, company: Company, connection: Connection) -> Promise:
        rules = {index for index, rule in enumerate(self.rules) if rule.matches(company, connection)}
        said: dict[str, Any] = {}
        label = ""
        for place in self._places:
            if place.data_type not in (None, data_type) or not self._is_among(place, rules):
                continue
            said |= place.terms.said
            if place.terms.fresh_within or place.terms.off is not None:
                label = self._labelled(place)
        if bound := self._bounds.get(data_type):
            said["fresh_within"] = min(said["fresh_within"], bound)
        windows = tuple(table.window for table in self.windows if table.applies(data_type, company, connection))
        terms = Terms.model_construct(**said)
        return _promise(terms, windows, self._rates.expected(connection.platform, data_type), label)

    @staticmethod
    def _is_among(place: _Place, rules: set[int]) -> bool:
        return place.location[0] != "rules" or place.location[1] in rules

    def _labelled(self, place: _Place) -> str:
        position = self._positions.get(place.location)
        return f"{place.label} ({position})" if position else place.label

    @cached_property
    def _places(self) -> list[_Place]:
        """All tables with terms, the least specific first."""
        return sorted(self._all_places(), key=lambda place: place.order)

    def _all_places(self) -> Iterator[_Place]:
        nothing = (False, 0, False)
        yield _Place((*nothing, False, 0), ("default",), "[default]", None, self.default)
        for data_type, terms in self.data_types.items():
            location: Location = ("data_types", data_type)
            yield _Place((*nothing, True, 0), location, f"[data_types.{data_type}]", data_type, terms)
        for index, rule in enumerate(self.rules, start=0):
            location, label = ("rules", index), f'rule "{rule.name}"'
            yield _Place((*rule.specificity, False, index + 1), location, label, None, rule)
            for data_type, terms in rule.data_types.items():
                order = (*rule.specificity, True, index + 1)
                yield _Place(order, (*location, "data_types", data_type), f"{label}, {data_type}", data_type, terms)


def _repeated(names: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Those of the numbered names that were there before."""
    seen: set[str] = set()
    for index, name in names:
        if name in seen:
            yield index, name
        seen.add(name)


def _promise(terms: Terms, windows: tuple[Window, ...], fleet_changes_per_day: float | None, place: str) -> Promise:
    fresh_within: timedelta = terms.fresh_within or timedelta.max
    return Promise(
        fresh_within=fresh_within,
        warn_after=max(terms.warn_after, fresh_within) if terms.warn_after else None,
        confidence=terms.confidence,
        at_most_every=min(terms.at_most_every or AT_MOST_EVERY, fresh_within),
        weight=terms.weight or 1.0,
        off=bool(terms.off),
        windows=windows,
        fleet_changes_per_day=fleet_changes_per_day,
        place=place,
    )
