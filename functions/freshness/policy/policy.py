"""The policy, and the promise that it makes for each feed."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Self, TypeVar

from pydantic import Field, PrivateAttr, model_validator

from freshness.domain.companies.company import Company, Connection
from freshness.domain.companies.platforms import most_specific
from freshness.domain.data_types import custom_identifier
from freshness.domain.feeds.feed import KeyInCompany
from freshness.domain.learned.learned_rates import LearnedRates
from freshness.domain.promises.promise import AT_MOST_EVERY, AttainmentKey, Promise
from freshness.domain.promises.windows import Window
from freshness.policy.file import values
from freshness.policy.file.local_time import Calendar, LocalTime, Timing
from freshness.policy.file.money import Money, PricePerRefresh, check_spending
from freshness.policy.file.schema import (
    Budget,
    CodatTable,
    ConsistencySet,
    DeadlineTable,
    Default,
    Product,
    Requests,
    Rule,
    Terms,
    WindowTable,
)
from freshness.policy.file.table import LocatedError, Location, Table
from freshness.policy.matching import Rules
from freshness.policy.terms import labelled, merge, terms_tables
from freshness.policy.timing import Local, check_calendars, time_of_day_terms

Value = TypeVar("Value")


class Policy(Table):
    """A policy file.

    The terms of a feed are resolved key by key, each key from the last table that sets it: `[default]`, then the data
    types, then the rules in the order of the file. Within a rule, its entries for data types come after its other keys.
    """

    default: Default
    data_types: dict[values.DataType, Terms] = Field(default_factory=dict)
    """What holds for some data types. They are kept fresh for every company with a connection that supplies them.

    A custom data type is named `custom.` and Codat's identifier, best in a rule with the platforms that have it.
    A connection that does not have it is asked again once a week.
    """
    rules: tuple[Rule, ...] = ()
    deadlines: tuple[DeadlineTable, ...] = ()
    windows: tuple[WindowTable, ...] = ()
    sets: tuple[ConsistencySet, ...] = ()
    products: dict[values.Name, Product] = Field(default_factory=dict)
    local_time: LocalTime = LocalTime()
    calendars: dict[values.Name, Calendar] = Field(default_factory=dict)
    codat: CodatTable = CodatTable()
    prices: dict[values.Name, PricePerRefresh] = Field(default_factory=dict)
    """What reading from a platform costs, per refresh or per GB: `make simulate` shows what each table costs."""
    budget: Budget = Budget()
    requests: Requests = Requests()

    _fleet: LearnedRates = PrivateAttr(default_factory=LearnedRates)
    _upper_bounds: Mapping[str, timedelta] = PrivateAttr(default_factory=dict)
    _positions: Mapping[Location, str] = PrivateAttr(default_factory=dict)
    _fingerprint: str = PrivateAttr("")

    @model_validator(mode="after")
    def _tables_are_consistent(self) -> Self:
        kinds: dict[str, tuple[Rule | DeadlineTable | WindowTable | ConsistencySet, ...]]
        kinds = {"rules": self.rules, "deadlines": self.deadlines, "windows": self.windows, "sets": self.sets}
        timed: dict[str, tuple[Timing, ...]]
        timed = {"rules": self.rules, "deadlines": self.deadlines, "windows": self.windows}
        check_calendars(timed, self.calendars)
        check_spending(self.prices, self.budget.spending)
        self._require_refreshed()
        for kind, tables in kinds.items():
            for index, name in _duplicates((index, table.name) for index, table in enumerate(tables)):
                raise LocatedError((kind, index, "name"), f"expected another name than {name!r}, which is used above")
        types = ((index, name) for index, each in enumerate(self.sets) for name in each.data_types)
        for index, name in _duplicates(types):
            location = "sets", index, "data_types"
            raise LocatedError(location, f"expected {name!r} once, and in one set, but it is also named above")
        return self

    def _require_refreshed(self) -> None:
        """Raise `LocatedError` if a deadline names a data type that is never refreshed."""
        if any(terms.off is False for rule in self.rules for terms in (rule, *rule.data_types.values())):
            return
        for index, deadline in enumerate(self.deadlines):
            for name in deadline.data_types:
                own = self.data_types[name].off if name in self.data_types else None
                if self.default.off if own is None else own:
                    message = f"expected data types that are refreshed, but {name!r} is off"
                    raise LocatedError(("deadlines", index, "data_types"), message)

    @property
    def keeps_requests(self) -> bool:
        """Whether every request for fresh data is kept, also one that is satisfied at once."""
        return "keep_requests" in self.requests.model_fields_set

    @property
    def fingerprint(self) -> str:
        """A hash of the policy's content. Comments and line numbers do not change it."""
        if not self._fingerprint:
            self._fingerprint = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
        return self._fingerprint

    def data_types_named_for(self, company: Company) -> set[str]:
        """Return the data types that the policy names for a company.

        They are kept fresh even before Codat lists them in the company's data status.
        """
        rules = (rule for each in company.connections.values() for _, rule in self._rules.matching(company, each))
        return set(self.data_types).union(*(rule.data_types for rule in rules))

    def feeds_of(self, company: Company, known: Iterable[KeyInCompany]) -> set[KeyInCompany]:
        """Return the feeds of a company: of data types known of it or named for it, from connections that have them."""
        data_types = {data_type for data_type, _ in known} | self.data_types_named_for(company)
        return {
            (data_type, connection.connection_id)
            for data_type in data_types
            for connection in company.active_connections(data_type)
            # Only the policy says which connections have a custom data type.
            if not custom_identifier(data_type) or self._names(data_type, company, connection)
        }

    def _names(self, data_type: str, company: Company, connection: Connection) -> bool:
        """Return whether a table for all companies, or a rule that matches the connection, names a data type."""
        return data_type in self.data_types or any(
            data_type in rule.data_types for _, rule in self._rules.matching(company, connection)
        )

    @property
    def fleet(self) -> LearnedRates:
        """The change rates that were learned for each platform and data type."""
        return self._fleet

    def with_learned(self, fleet: LearnedRates) -> "Policy":
        """Return a copy of the policy whose promises use the change rates learned for platforms and data types."""
        return self._copy(fleet=fleet)

    def with_positions(self, positions: Mapping[Location, str]) -> "Policy":
        """Return a copy of the policy whose promises name the position, "file:line", of the table that set them."""
        return self._copy(positions=positions)

    def with_fingerprint(self, fingerprint: str) -> "Policy":
        """Return a copy of the policy with the fingerprint that was computed when it was validated."""
        return self._copy(fingerprint=fingerprint)

    def source(self, location: Location, label: str) -> str:
        """Return the label of a table with its position, "file:line", if that is known."""
        return labelled(label, location, self._positions)

    def with_upper_bound(self, data_type: str, fresh_within: timedelta) -> "Policy":
        """Return a copy of the policy that promises at most this `fresh_within` for a data type of any company."""
        return self._copy(upper_bounds={**self._upper_bounds, data_type: fresh_within})

    def _copy(self, **changed: object) -> "Policy":
        # Built once for all copies: there may be thousands of rules.
        _ = self._rules, self._selected_values
        policy = self.model_copy()
        vars(policy).pop("_promise_cache", None)
        for name, value in changed.items():
            setattr(policy, f"_{name}", value)
        return policy

    @cached_property
    def _promise_cache(self) -> dict[object, Promise]:
        """The promises that were already resolved: a tick needs the same few for many feeds."""
        return {}

    def promise(self, data_type: str, company: Company, connection: Connection) -> Promise:
        """Return the promise for a data type of a company, read from one of its connections.

        Nothing is promised if the connection is over.
        """
        key = data_type, connection.platform, connection.integration_key, self._selected_attributes(company)
        promise = self._promise_cache.get(key)
        if promise is None:
            promise = self._promise_cache[key] = self._resolve(data_type, company, connection)
        return replace(promise, off=True) if connection.is_over else promise

    def _selected_attributes(self, company: Company) -> tuple[str | None, ...]:
        """Return the ids of a company and its parent, and its tag values, each `None` if nothing selects by that value.

        Companies with the same result have the same promises: the result is a part of the cache's key.
        """
        company_ids, tags = self._selected_values
        tag_values = [
            value if (value := company.tags.get(name)) in selected else None for name, selected in tags.items()
        ]
        ids = (each if each in company_ids else None for each in (company.company_id, company.parent_id))
        return *ids, *tag_values, *(company.tags.get(name) for name in self.local_time.tag_names)

    @cached_property
    def _selected_values(self) -> tuple[set[str], dict[str, set[str]]]:
        """The company ids, and the values of each tag, that rules, deadlines and windows select companies by."""
        company_ids: set[str] = set()
        tags: dict[str, set[str]] = defaultdict(set)
        for selection in (*self.rules, *self.deadlines, *self.windows):
            company_ids.update(selection.companies, selection.groups)
            for name, value in selection.tags.items():
                tags[name].add(value)
        return company_ids, tags

    def reads_once(self, company: Company, connection: Connection) -> bool:
        """Return whether a connection is read only once: the last matching rule that sets `read_once` decides."""
        return bool(self._last(company, connection, lambda rule: rule.read_once))

    def consent(self, company: Company, connection: Connection) -> timedelta | None:
        """Return how long consent to a connection lasts, by the last matching rule that sets it; `None` for ever."""
        return self._last(company, connection, lambda rule: rule.consent)

    def _last(self, company: Company, connection: Connection, key: Callable[[Rule], Value | None]) -> Value | None:
        """Return the value of a key from the last rule that sets it and matches a connection; `None` if none does."""
        said = ((key(rule), rule) for rule in self._rules_of_connections)
        return next((value for value, rule in said if value is not None and rule.matches(company, connection)), None)

    @cached_property
    def _rules_of_connections(self) -> list[Rule]:
        """The few rules that set `read_once` or `consent`, the last of the file first."""
        return [rule for rule in reversed(self.rules) if rule.read_once is not None or rule.consent]

    def set_of(self, data_type: str, company: Company) -> ConsistencySet | None:
        """Return the set that a data type of a company is refreshed with; `None` if it is in no set."""
        consistency_set = self._sets.get(data_type)
        return consistency_set if consistency_set and consistency_set.matches_company(company) else None

    @cached_property
    def types_of_products(self) -> dict[str, tuple[str, ...]]:
        """The data types of each custom product, by Codat's identifier of the product."""
        return {identifier: product.data_types for identifier, product in self.products.items()}

    @cached_property
    def objectives(self) -> list[tuple[str, float]]:
        """The name in output, and the objective, of each table that sets an objective, the last of the file first."""
        tables = terms_tables(self.default, self.data_types, enumerate(self.rules))
        return [(table.label, table.terms.objective) for table in tables if table.terms.objective][::-1]

    @cached_property
    def products_types(self) -> frozenset[str]:
        """The data types of all custom products."""
        return frozenset(each for data_types in self.types_of_products.values() for each in data_types)

    def refreshes_a_day(self, connection: Connection) -> int | None:
        """Return how many refreshes a day a connection may get, or `None` if the policy sets no limit."""
        shares = self.budget.refreshes_per_connection
        name = most_specific(shares, connection.platform, connection.integration_key)
        return shares[name] if name else None

    def capped_as(self, connection: Connection) -> str | None:
        """Return the platform's name under which the policy caps spending on a connection; `None` if it does not."""
        return most_specific(self.budget.spending, connection.platform, connection.integration_key)

    def price(self, connection: Connection) -> Money | None:
        """Return the price of a refresh through a connection, or `None` if the policy has none."""
        name = most_specific(self.prices, connection.platform, connection.integration_key)
        return self.prices[name] if name else None

    def relative_price(self, connection: Connection) -> float:
        """Return the price of a refresh through a connection as a multiple of the lowest price; 1 if it has no price.

        A refresh without a price still spends a call.
        """
        if not self.prices:
            return 1.0
        key = connection.platform, connection.integration_key
        if key not in self._relative_prices:
            price, lowest = self.price(connection), min(price.amount for price in self.prices.values())
            self._relative_prices[key] = price.amount / lowest if price else 1.0
        return self._relative_prices[key]

    @cached_property
    def _relative_prices(self) -> dict[tuple[str, str], float]:
        return {}

    @cached_property
    def _sets(self) -> dict[str, ConsistencySet]:
        return {data_type: consistency_set for consistency_set in self.sets for data_type in consistency_set.data_types}

    def _resolve(self, data_type: str, company: Company, connection: Connection) -> Promise:
        """Merge the terms of all tables that apply to a feed into its promise."""
        tables = terms_tables(self.default, self.data_types, self._rules.matching(company, connection))
        merged = merge(table for table in tables if table.data_type in (None, data_type))
        if upper_bound := self._upper_bounds.get(data_type):
            for specified in (merged.terms, *(specified for _, specified in merged.timed)):
                if "fresh_within" in specified:
                    specified["fresh_within"] = min(specified["fresh_within"], upper_bound)
        local = Local(company, self.local_time, self.calendars)
        windows = tuple(local.window(table) for table in self.windows if table.applies(data_type, company, connection))
        label = merged.decisive.at(self._positions) if merged.decisive else ""
        terms = Terms.model_construct(**merged.terms)
        promise = replace(
            _promise(terms, windows, label),
            fleet_changes_per_day=self._fleet.expected(connection.platform, data_type),
            group=AttainmentKey(
                rule=merged.decisive.label if merged.decisive else "",
                platform=connection.platform,
                tags=tuple(
                    f"{name}={value}"
                    for name, selected in self._selected_values[1].items()
                    if (value := company.tags.get(name)) in selected
                ),
            ),
        )
        if promise.off:
            return promise
        deadlines = (
            (index, table)
            for index, table in enumerate(self.deadlines)
            if table.applies(data_type, company, connection)
        )
        return replace(promise, time_of_day=time_of_day_terms(promise, merged, deadlines, local, self._positions))

    @cached_property
    def _rules(self) -> Rules:
        return Rules(self.rules)


def objective(policy: Policy, rule: str) -> float | None:
    """Return the objective of a table that sets `fresh_within`, by its name in output, such as `rule "free plan"`.

    A table without an objective has that of its rule, or else that of `[default]`.
    """
    own = (aim for label, aim in policy.objectives if rule == label or rule.startswith(f"{label}, "))
    return next(own, policy.default.objective)


def _duplicates(names: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield each pair of index and name whose name occurred in an earlier pair."""
    seen: set[str] = set()
    for index, name in names:
        if name in seen:
            yield index, name
        seen.add(name)


def _promise(terms: Terms, windows: tuple[Window, ...], source: str) -> Promise:
    """Build a promise from merged terms, with the defaults of the keys that no table sets."""
    fresh_within: timedelta = terms.fresh_within or timedelta.max
    return Promise(
        fresh_within=fresh_within,
        warn_after=terms.warn_after,
        confidence=terms.confidence,
        at_most_every=min(terms.at_most_every or AT_MOST_EVERY, fresh_within),
        weight=terms.weight or 1.0,
        quiet_after=terms.quiet_after,
        off=bool(terms.off),
        windows=windows,
        source=source,
    )
