"""What is wrong with a policy file, as its reader can act on it: file, line, what was expected."""

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from freshness.policy.policy import Policy
from freshness.policy.schema import Location, MisplacedError
from freshness.policy.values import nearest

_KINDS = {
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "string_type": "text",
    "string_too_short": "some text",
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
}
"""What TOML calls the types that pydantic names."""


class PolicyError(ValueError):
    """The policy file cannot be used. Its text has a line for each mistake: file, line, and what was expected."""


def told(error: ValidationError, name: str, lines: dict[Location, int]) -> str:
    """All mistakes that were found, in the order of their lines. `lines` is where each table and key stands."""
    mistakes = [(_location(mistake), mistake) for mistake in error.errors()]
    texts = {
        (_line(lines, location), _expectation(location, mistake))
        for location, mistake in mistakes
        # Codat's names that are wrong are left out of a list, which may then be too short.
        if mistake["type"] != "too_short" or not any(_is_within(other, location) for other, _ in mistakes)
    }
    return "\n".join(f"{name}:{line}: {expected}" for line, expected in sorted(texts))


def _location(mistake: ErrorDetails) -> Location:
    """Where a mistake is; one that lies in several tables is in the last of them."""
    location = _without_key(mistake["loc"])
    error = mistake.get("ctx", {}).get("error")
    return location + error.location if isinstance(error, MisplacedError) else location


def _is_within(location: Location, other: Location) -> bool:
    return len(location) > len(other) and location[: len(other)] == other


def _expectation(location: Location, mistake: ErrorDetails) -> str:
    """What was expected, of one of pydantic's mistakes."""
    name = ".".join(f"{part + 1}" if isinstance(part, int) else part for part in location)
    prefix = f"{name}: " if name else ""
    match mistake["type"]:
        case "value_error":
            return f"{prefix}{mistake['ctx']['error']}"
        case "extra_forbidden":
            known = _keys_beside(location)
            return (
                f"{prefix}unknown key, expected one of: {', '.join(sorted(known))}{nearest(str(location[-1]), known)}"
            )
        case "missing":
            return f"{prefix}expected, but it is missing"
        case "too_short":
            expected = f"at least {mistake['ctx']['min_length']}"
        case kind:
            expected = _KINDS.get(kind) or mistake["msg"].lower().removeprefix("input should be ")
    return f"{prefix}expected {expected}, got {mistake['input']!r}"


def _without_key(location: Location) -> Location:
    return tuple(part for part in location if part != "[key]")


def _keys_beside(location: Location) -> frozenset[str]:
    """The keys that the table around a location may have."""
    model: type[BaseModel] = Policy
    for part in location[:-1]:
        if field := model.model_fields.get(str(part)):
            model = _model_within(field.annotation)
    return frozenset(model.model_fields)


def _model_within(annotation: Any) -> type[BaseModel]:
    """The model that a field holds one of, or several by name or number."""
    inner = (annotation, *get_args(annotation))
    return next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), Policy)


def lines_of(text: str) -> dict[Location, int]:
    """The line on which each table and key of a TOML text stands. `tomllib` does not tell."""
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
    quoted_or_bare = r"""\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*(?:\.|$)"""
    return tuple(next(filter(None, groups), "") for groups in re.findall(quoted_or_bare, dotted))


def _numbered(name: Location, counts: dict[Location, int]) -> Location:
    """A table's name with the number of the entry that it belongs to put after the name of each list of tables."""
    numbered: Location = ()
    for index, part in enumerate(name):
        numbered += (part,)
        if numbered in counts and index < len(name) - 1:
            numbered += (counts[numbered],)
    return numbered


def _line(lines: dict[Location, int], location: Location) -> int:
    """The line of the innermost table or key around a location; the first line where there is none."""
    return next((lines[location[:length]] for length in range(len(location), 0, -1) if location[:length] in lines), 1)
