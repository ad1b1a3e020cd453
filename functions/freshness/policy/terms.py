"""The tables of the policy file that set terms, and the terms that several of them set together."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from freshness.policy.file.schema import Rule, Terms
from freshness.policy.file.table import Location


@dataclass(frozen=True, slots=True)
class TermsTable:
    """A table of the file that sets terms, and the data type that it sets them for."""

    location: Location
    label: str
    """The name of the table in output, such as `[default]`."""
    data_type: str | None
    """The data type that the terms are for; `None` if they are for all data types."""
    terms: Terms
    rule: Rule | None = None
    """The rule that the table belongs to, if it is not for all companies at all times."""

    def at(self, positions: Mapping[Location, str]) -> str:
        """Return the label with the position, "file:line", if that is known."""
        return labelled(self.label, self.location, positions)


@dataclass(slots=True)
class Merged:
    """The terms of all tables that apply to a feed: those at all times, and those of rules with hours."""

    terms: dict[str, Any] = field(default_factory=dict)
    """By key, at all times."""
    decisive: TermsTable | None = None
    """The table that sets `fresh_within` or `off` at all times."""
    timed: list[tuple[TermsTable, dict[str, Any]]] = field(default_factory=list)
    """The terms of rules that are restricted to hours, the last of the file first."""


def labelled(label: str, location: Location, positions: Mapping[Location, str]) -> str:
    """Return a label with the position, "file:line", of a location, if that is known."""
    position = positions.get(location)
    return f"{label} ({position})" if position else label


def merge(tables: Iterable[TermsTable]) -> Merged:
    """Merge the terms of tables that apply to a feed. Of each key, the last table that sets it counts."""
    merged = Merged()
    for table in tables:
        specified = table.terms.specified
        if table.rule and table.rule.hours:
            merged.timed.insert(0, (table, specified))
            continue
        if "fresh_within" in specified and "warn_after" in merged.terms:
            # An earlier table's `warn_after` was not meant for this promise: it must not warn before this one breaks.
            merged.terms["warn_after"] = max(merged.terms["warn_after"], specified["fresh_within"])
        merged.terms |= specified
        merged.timed = [
            (timed, {key: value for key, value in terms.items() if key not in specified})
            for timed, terms in merged.timed
        ]
        if table.terms.fresh_within or table.terms.off is not None:
            merged.decisive = table
    merged.timed = [(timed, terms) for timed, terms in merged.timed if terms]
    return merged


def terms_tables(
    default: Terms, data_types: Mapping[str, Terms], rules: Iterable[tuple[int, Rule]]
) -> Iterator[TermsTable]:
    """Yield all tables that set terms, in ascending order of precedence.

    These are `[default]`, the data types, and the rules, each before its entries for data types. `rules` come with
    their numbers, in the order of the file.
    """
    yield TermsTable(("default",), "[default]", None, default)
    for data_type, terms in data_types.items():
        yield TermsTable(("data_types", data_type), f"[data_types.{data_type}]", data_type, terms)
    for index, rule in rules:
        location, label = ("rules", index), f'rule "{rule.name}"'
        yield TermsTable(location, label, None, rule, rule)
        for data_type, terms in rule.data_types.items():
            yield TermsTable((*location, "data_types", data_type), f"{label}, {data_type}", data_type, terms, rule)
