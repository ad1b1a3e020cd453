"""`freshness.toml`: what "fresh" means for each data type, read once and checked whole."""

import difflib
import hashlib
import re
import tomllib
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from freshness.data_types import DATA_TYPES

_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_DURATION = re.compile(r"(\d{1,6}) (minute|hour|day|week)s?")


class PolicyError(ValueError):
    """The policy file cannot be used. Its text has a line for each mistake: file, line, and what was expected."""


def _duration(value: object) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError(f'expected a duration such as "30 minutes", "6 hours" or "1 day", got {value!r}')
    return int(match[1]) * _UNITS[match[2]]


def _data_type(value: str) -> str:
    if value not in DATA_TYPES:
        raise ValueError(f"expected one of Codat's data types, got {value!r}{_nearest(value, DATA_TYPES)}")
    return value


def _nearest(name: str, known: frozenset[str]) -> str:
    matches = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Promise(_Table):
    """How old a data type of a company may be."""

    fresh_within: Annotated[timedelta, BeforeValidator(_duration)]


class Policy(_Table):
    """The whole policy file: the promise for each data type that it names, and the one for all others."""

    default: Promise
    data_types: dict[Annotated[str, AfterValidator(_data_type)], Promise] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Tells this policy from any that says something else."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def promise(self, data_type: str) -> Promise:
        """What is promised for a data type."""
        return self.data_types.get(data_type, self.default)


def load(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: it is missing, is not TOML, or says something that is not part of a policy.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return Policy.model_validate(tomllib.loads(text))
    except OSError as error:
        raise PolicyError(f"{path}: expected a policy file here, but: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: expected text in UTF-8, but: {error.reason}") from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else len(text.splitlines())
        raise PolicyError(f"{path}:{number}: expected TOML, but: {error}") from error
    except ValidationError as error:
        lines = _lines(text)
        mistakes = sorted((_line(lines, mistake["loc"]), _expectation(mistake)) for mistake in error.errors())
        raise PolicyError("\n".join(f"{path}:{line}: {expected}" for line, expected in mistakes)) from error


def _expectation(mistake: ErrorDetails) -> str:
    """What was expected, of one of pydantic's mistakes."""
    name = ".".join(str(part) for part in mistake["loc"] if part != "[key]")
    match mistake["type"]:
        case "value_error":
            return f"{name}: {mistake['ctx']['error']}"
        case "extra_forbidden":
            known = _keys_at(mistake["loc"])
            expected = ", ".join(sorted(known))
            return f"{name}: unknown key, expected one of: {expected}{_nearest(str(mistake['loc'][-1]), known)}"
        case "missing":
            return f"{name}: expected, but it is missing"
        case _:
            return f"{name}: {mistake['msg'].lower()}, got {mistake['input']!r}"


def _keys_at(location: tuple[int | str, ...]) -> frozenset[str]:
    return frozenset((Policy if len(location) == 1 else Promise).model_fields)


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line on which each table and key of a TOML text stands. `tomllib` does not tell."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+([^\]]+)\]", line):
            table = _parts(header[1])
            found.setdefault(table, number)
        elif key := re.match(r"\s*([\w\"'.-]+)\s*=", line):
            path = table + _parts(key[1])
            for length in range(len(table) + 1, len(path) + 1):
                found.setdefault(path[:length], number)
    return found


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _line(lines: dict[tuple[str, ...], int], location: tuple[Any, ...]) -> int:
    """The line of the innermost table or key around a location; the first line where there is none."""
    path = tuple(str(part) for part in location if part != "[key]")
    return next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 1)
