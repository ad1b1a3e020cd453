"""The whole policy, and what it promises of each feed."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Self

from pydantic import Field, PrivateAttr, model_validator

from freshness.domain.change_rate import FleetRates
from freshness.domain.company import Company, Connection
from freshness.domain.promise import AT_MOST_EVERY, Promise
from freshness.domain.windows import Window
from freshness.policy import values
from freshness.policy.schema import (
    Budget,
    ConsistencySet,
    Default,
    Location,
    MisplacedError,
    Rule,
    Table,
    Terms,
    WindowTable,
)


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

    What holds for a feed is put together key by key, each key from the most specific table that says it. A rule wins
    over the tables for all companies; a rule that names companies over one that does not; then the one with more
    tags; then the one that names platforms; then a data type named over none; of equals, the later in the file.
    """

    default: Default
    data_types: dict[values.DataType, Terms] = Field(default_factory=dict)
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
        """Whether anything depends on how often feeds change: somewhere a `confidence` is asked for."""
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
        """What it knows of how often the feeds of each platform and data type change."""
        return self._rates

    def knowing(self, rates: FleetRates) -> "Policy":
        """The same policy, whose promises take feeds that nothing is known of to change as the fleet does."""
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
