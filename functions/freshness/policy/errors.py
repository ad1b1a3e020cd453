"""Error messages for an invalid policy file: the file, the line, and the expected value of each mistake."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from freshness.policy.file.days import several_days
from freshness.policy.file.table import LocatedError, Location
from freshness.policy.file.values import quoted, suggestion
from freshness.policy.policy import Policy

_TYPE_NAMES = {
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "string_type": "text",
    "string_too_short": "some text",
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
}
"""Pydantic's error types, and TOML's name for the type that each expects."""


class PolicyError(ValueError):
    """An invalid policy file. The message has one line for each mistake: file, line number, and expected value."""


def describe(error: ValidationError, name: str, lines: dict[Location, int]) -> str:
    """Return a message that lists all mistakes of a validation error, in the order of their lines.

    `name` is the path of the file, and `lines` the line number of each table and key, as `line_numbers` returns it.
    """
    mistakes = [(_location(mistake), mistake) for mistake in error.errors()]
    expectations = [
        (location, _expectation(location, mistake))
        for location, mistake in mistakes
        # Pydantic drops invalid entries from a list, and may then also report that the list is too short.
        if mistake["type"] != "too_short" or not any(_is_within(other, location) for other, _ in mistakes)
    ]
    return described(expectations, name, lines)


def described(mistakes: Iterable[tuple[Location, str]], name: str, lines: dict[Location, int]) -> str:
    """Return a message with a line for each mistake, in the order of the lines of the file."""
    texts = {(_line(lines, location), expected) for location, expected in mistakes}
    return "\n".join(f"{name}:{line}: {expected}" for line, expected in sorted(texts))


def _location(mistake: ErrorDetails) -> Location:
    """Return the location of a mistake. A mistake that involves several tables is located in the last of them."""
    # Pydantic adds `[key]` to a location if it means a table's key, and not the key's value.
    location = tuple(part for part in mistake["loc"] if part != "[key]")
    error = mistake.get("ctx", {}).get("error")
    return location + error.location if isinstance(error, LocatedError) else location


def _is_within(location: Location, other: Location) -> bool:
    return len(location) > len(other) and location[: len(other)] == other


def _expectation(location: Location, mistake: ErrorDetails) -> str:
    name = ".".join(f"{part + 1}" if isinstance(part, int) else part for part in location)
    prefix = f"{name}: " if name else ""
    match mistake["type"]:
        case "value_error":
            return f"{prefix}{mistake['ctx']['error']}"
        case "extra_forbidden":
            known = _known_keys(location)
            hint = suggestion(str(location[-1]), known)
            return f"{prefix}unknown key, expected one of: {', '.join(sorted(known))}{hint}"
        case "missing":
            return f"{prefix}expected, but it is missing"
        case "too_short":
            expected = f"at least {mistake['ctx']['min_length']}"
        case "tuple_type" if isinstance(given := mistake["input"], str):
            days = several_days(given) if location[-1] == "days" else []
            return f"{prefix}expected a list, got {quoted(given)}; write {days or f'[{quoted(given)}]'}"
        case kind:
            expected = _TYPE_NAMES.get(kind) or mistake["msg"].lower().removeprefix("input should be ")
    return f"{prefix}expected {expected}, got {quoted(mistake['input'])}"


def _known_keys(location: Location) -> frozenset[str]:
    """Return the keys that are valid in the table that contains a location."""
    model: type[BaseModel] = Policy
    for part in location[:-1]:
        if field := model.model_fields.get(str(part)):
            model = _model_within(field.annotation)
    return frozenset(model.model_fields)


def _model_within(annotation: Any) -> type[BaseModel]:
    """Return the model in a field's annotation: the field holds one table, a list of tables, or tables by name."""
    inner = (annotation, *get_args(annotation))
    return next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), Policy)


@lru_cache(maxsize=1)
def line_numbers(text: str) -> dict[Location, int]:
    """Return the line number of each table and key of a TOML text, which `tomllib` does not report."""
    found: dict[Location, int] = {}
    counts: dict[Location, int] = {}
    table: Location = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if header := re.match(r"\s*\[\[([^\]]+)\]\]", line):
            name = _numbered(_parts(header[1]), counts)
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
            found.setdefault(name, number)
            found.setdefault(table, number)
        elif header := re.match(r"\s*\[([^\]]+)\]", line):
            table = _numbered(_parts(header[1]), counts)
            found.setdefault(table, number)
        elif key := re.match(r"\s*([\w\"'. -]+?)\s*=", line):
            path = table + _parts(key[1])
            for length in range(len(table) + 1, len(path) + 1):
                found.setdefault(path[:length], number)
    return found


def _parts(dotted: str) -> Location:
    """Split a dotted TOML key into its parts, without their quotes."""
    quoted_or_bare = r"""\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*(?:\.|$)"""
    return tuple(next(filter(None, groups), "") for groups in re.findall(quoted_or_bare, dotted))


def _numbered(name: Location, counts: dict[Location, int]) -> Location:
    """Insert the index of the current entry after the name of each array of tables: `rules` becomes `rules, 0`.

    `counts` holds the index of the last entry of each array of tables.
    """
    numbered: Location = ()
    for index, part in enumerate(name):
        numbered += (part,)
        if numbered in counts and index < len(name) - 1:
            numbered += (counts[numbered],)
    return numbered


def _line(lines: dict[Location, int], location: Location) -> int:
    """Return the line number of the innermost known table or key around a location, or 1 if there is none."""
    return next((lines[location[:length]] for length in range(len(location), 0, -1) if location[:length] in lines), 1)
