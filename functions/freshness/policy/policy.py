"""The policy, and the promise that it makes for each feed."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Self

from pydantic import Field, PrivateAttr, model_validator

from freshness.domain.company import Company, Connection
from freshness.domain.fleet import Fleet
from freshness.domain.promise import AT_MOST_EVERY, Promise
from freshness.domain.windows import Window
from freshness.policy import values
from freshness.policy.schema import (
    Budget,
    ConsistencySet,
    Default,
    LocatedError,
    Location,
    Product,
    Rule,
    Table,
    Terms,
    WindowTable,
)


@dataclass(frozen=True, slots=True)
class _TermsTable:
    """A table of the file that sets terms, and the data type that it sets them for."""

    specificity: tuple[bool, bool, int, bool, bool, int]
    """Orders the tables: the terms of a table with a higher specificity override those of the others."""
    location: Location
    label: str
    """The name of the table in output, such as `[default]`."""
    data_type: str | None
    """The data type that the terms are for; `None` if they are for all data types."""
    terms: Terms


class Policy(Table):
    """A policy file.

    The terms of a feed are resolved key by key, each key from the most specific table that sets it. A rule overrides
    the tables for all companies; a rule that names companies overrides one that does not; then one that names groups;
    then the rule with more tags wins; then the rule that names platforms; then a table for one data type; of equals,
    the later in the file.
    """

    default: Default
    data_types: dict[values.DataType, Terms] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    windows: tuple[WindowTable, ...] = ()
    sets: tuple[ConsistencySet, ...] = ()
    products: dict[str, Product] = Field(default_factory=dict)
    budget: Budget = Budget()

    _fleet: Fleet = PrivateAttr(default_factory=Fleet)
    _upper_bounds: Mapping[str, timedelta] = PrivateAttr(default_factory=dict)
    _positions: Mapping[Location, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        kinds: dict[str, tuple[Rule | WindowTable | ConsistencySet, ...]]
        kinds = {"rules": self.rules, "windows": self.windows, "sets": self.sets}
        for kind, tables in kinds.items():
            for index, name in _duplicates((index, table.name) for index, table in enumerate(tables)):
                raise LocatedError((kind, index, "name"), f"expected another name than {name!r}, which is used above")
        types = ((index, name) for index, each in enumerate(self.sets) for name in each.data_types)
        for index, name in _duplicates(types):
            location = "sets", index, "data_types"
            raise LocatedError(location, f"expected {name!r} once, and in one set, but it is also named above")
        return self

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the policy's content. Comments and line numbers do not change it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def named_for(self, company: Company) -> set[str]:
        """Return the data types that the policy names for a company.

        They are kept fresh even before Codat lists them in the company's data status.
        """
        rules = (
            rule
            for rule in self.rules
            if any(rule.matches(company, connection) for connection in company.connections.values())
        )
        return set(self.data_types).union(*(rule.data_types for rule in rules))

    def names(self, data_type: str, company: Company, connection: Connection) -> bool:
        """Return whether a table for all companies, or a rule that matches the connection, names a data type."""
        return data_type in self.data_types or any(
            data_type in rule.data_types and rule.matches(company, connection) for rule in self.rules
        )

    @property
    def fleet(self) -> Fleet:
        """What was learned of each platform and data type."""
        return self._fleet

    def knowing(self, fleet: Fleet) -> "Policy":
        """Return a copy of the policy whose promises expect of feeds what was learned of their platform and type."""
        policy = self._copy()
        policy._fleet = fleet
        return policy

    def with_positions(self, positions: Mapping[Location, str]) -> "Policy":
        """Return a copy of the policy whose promises name the position, "file:line", of the table that set them."""
        policy = self._copy()
        policy._positions = positions
        return policy

    def with_upper_bound(self, data_type: str, fresh_within: timedelta) -> "Policy":
        """Return a copy of the policy that promises at most this `fresh_within` for a data type of any company."""
        policy = self._copy()
        policy._upper_bounds = {**self._upper_bounds, data_type: fresh_within}
        return policy

    def _copy(self) -> "Policy":
        policy = self.model_copy()
        vars(policy).pop("_promise_cache", None)
        return policy

    @cached_property
    def _promise_cache(self) -> dict[object, Promise]:
        """The promises that were already resolved: a tick needs the same few for many feeds."""
        return {}

    def promise(self, data_type: str, company: Company, connection: Connection) -> Promise:
        """Return the promise for the feed of a data type of a company from one of its connections."""
        key = data_type, connection.platform, self._selected_attributes(company)
        promise = self._promise_cache.get(key)
        if promise is None:
            promise = self._promise_cache[key] = self._resolve(data_type, company, connection)
        return promise

    def _selected_attributes(self, company: Company) -> tuple[str | None, ...]:
        """Return the ids of a company and its parent, and its tag values, each `None` if nothing selects by that value.

        Two companies with the same result have the same promises, so that it serves as a part of the cache's key.
        """
        company_ids, tags = self._selected_values
        tag_values = [
            value if (value := company.tags.get(name)) in selected else None for name, selected in tags.items()
        ]
        ids = (each if each in company_ids else None for each in (company.company_id, company.parent_id))
        return *ids, *tag_values

    @cached_property
    def _selected_values(self) -> tuple[set[str], dict[str, set[str]]]:
        """The company ids, and the values of each tag, by which rules and windows select companies."""
        company_ids: set[str] = set()
        tags: dict[str, set[str]] = defaultdict(set)
        for selection in (*self.rules, *self.windows):
            company_ids.update(selection.companies, selection.groups)
            for name, value in selection.tags.items():
                tags[name].add(value)
        return company_ids, tags

    def set_of(self, data_type: str, company: Company) -> ConsistencySet | None:
        """Return the set with which a data type of a company is refreshed, or `None` if it is in no set."""
        consistency_set = self._sets.get(data_type)
        return consistency_set if consistency_set and consistency_set.matches_company(company) else None

    @cached_property
    def types_of_products(self) -> dict[str, tuple[str, ...]]:
        """The data types of each custom product, by Codat's identifier of the product."""
        return {identifier: product.data_types for identifier, product in self.products.items()}

    def refreshes_a_day(self, connection: Connection) -> int | None:
        """Return how many refreshes a day a connection may get, or `None` if the policy sets no limit."""
        return self.budget.refreshes_per_connection.get(connection.platform)

    @cached_property
    def _sets(self) -> dict[str, ConsistencySet]:
        return {data_type: consistency_set for consistency_set in self.sets for data_type in consistency_set.data_types}

    def _resolve(self, data_type: str, company: Company, connection: Connection) -> Promise:
        """Merge the terms of all tables that apply to a feed into its promise."""
        matching_rules = {index for index, rule in enumerate(self.rules) if rule.matches(company, connection)}
        merged: dict[str, Any] = {}
        label = ""
        for table in self._terms_tables:
            if table.data_type not in (None, data_type) or not _applies(table, matching_rules):
                continue
            merged |= table.terms.specified
            if table.terms.fresh_within or table.terms.off is not None:
                label = _label_with_position(table, self._positions)
        if upper_bound := self._upper_bounds.get(data_type):
            merged["fresh_within"] = min(merged["fresh_within"], upper_bound)
        windows = tuple(table.window for table in self.windows if table.applies(data_type, company, connection))
        terms = Terms.model_construct(**merged)
        return replace(
            _promise(terms, windows, label),
            fleet_changes_per_day=self._fleet.expected(connection.platform, data_type),
            rhythm=self._fleet.rhythm(connection.platform, data_type),
        )

    @cached_property
    def _terms_tables(self) -> list[_TermsTable]:
        """All tables that set terms, the least specific first."""
        return sorted(_iter_terms_tables(self), key=lambda table: table.specificity)


def _applies(table: _TermsTable, matching_rules: set[int]) -> bool:
    """Return whether a table is for all companies, or belongs to one of the matching rules."""
    return table.location[0] != "rules" or table.location[1] in matching_rules


def _label_with_position(table: _TermsTable, positions: Mapping[Location, str]) -> str:
    position = positions.get(table.location)
    return f"{table.label} ({position})" if position else table.label


def _iter_terms_tables(policy: Policy) -> Iterator[_TermsTable]:
    """Yield all tables that set terms, in the order of the file."""
    no_rule = (False, False, 0, False)
    yield _TermsTable((*no_rule, False, 0), ("default",), "[default]", None, policy.default)
    for data_type, terms in policy.data_types.items():
        location: Location = ("data_types", data_type)
        yield _TermsTable((*no_rule, True, 0), location, f"[data_types.{data_type}]", data_type, terms)
    for index, rule in enumerate(policy.rules):
        location, label = ("rules", index), f'rule "{rule.name}"'
        yield _TermsTable((*rule.specificity, False, index + 1), location, label, None, rule)
        for data_type, terms in rule.data_types.items():
            location_of_type, label_of_type = (*location, "data_types", data_type), f"{label}, {data_type}"
            specificity = (*rule.specificity, True, index + 1)
            yield _TermsTable(specificity, location_of_type, label_of_type, data_type, terms)


def _duplicates(names: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield each pair of index and name whose name occurred in an earlier pair."""
    seen: set[str] = set()
    for index, name in names:
        if name in seen:
            yield index, name
        seen.add(name)


def _promise(terms: Terms, windows: tuple[Window, ...], place: str) -> Promise:
    """Build a promise from merged terms, with the defaults of the keys that no table sets."""
    fresh_within: timedelta = terms.fresh_within or timedelta.max
    return Promise(
        fresh_within=fresh_within,
        warn_after=max(terms.warn_after, fresh_within) if terms.warn_after else None,
        confidence=terms.confidence,
        at_most_every=min(terms.at_most_every or AT_MOST_EVERY, fresh_within),
        matters=(terms.matters.window,) if terms.matters else (),
        weight=terms.weight or 1.0,
        off=bool(terms.off),
        windows=windows,
        place=place,
    )
