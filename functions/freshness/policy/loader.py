"""Loading and validation of the policy file."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from freshness.policy.checks import impossible
from freshness.policy.errors import PolicyError, describe, described, line_numbers
from freshness.policy.file.table import Location
from freshness.policy.policy import Policy


def load(path: Path) -> Policy:
    """Load and validate a policy file.

    Raises:
        PolicyError: the file is missing, is not UTF-8, is not TOML, or is not a policy that can be kept.
    """
    text, tables = read_toml(path)
    lines = line_numbers(text)
    today = datetime.now(UTC).date()
    try:
        policy = Policy.model_validate(tables, context={"year": today.year})
    except ValidationError as error:
        raise PolicyError(describe(error, str(path), lines)) from error
    policy = policy.with_positions(positions(path.name, text))
    if mistakes := list(impossible(policy, today)):
        raise PolicyError(described([(each.location, str(each)) for each in mistakes], str(path), lines))
    return policy


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a TOML file, and return its text and its tables.

    Raises:
        PolicyError: the file is missing, is not UTF-8, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        raise PolicyError(f"{path}: expected a file here, but: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{path}:{number}: expected text in UTF-8, but: {error.reason}") from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else text.rstrip("\n").count("\n") + 1
        raise PolicyError(f"{path}:{number}: expected TOML, but: {error}") from error
    except RecursionError as error:
        brackets = [line.count("[") + line.count("{") for line in text.split("\n")]
        number = brackets.index(max(brackets)) + 1
        raise PolicyError(f"{path}:{number}: expected TOML, but its brackets are nested too deeply") from error
    except ValueError as error:
        # The path has a null character, or the file a number of thousands of digits, which Python does not convert.
        longest = max(re.finditer(r"\d[\d_]*", text), key=lambda match: len(match[0]), default=None)
        number = text.count("\n", 0, longest.start()) + 1 if longest else 1
        raise PolicyError(f"{path}:{number}: expected TOML, but the number here has too many digits") from error


def positions(name: str, text: str) -> dict[Location, str]:
    """Return the position, "file:line", of each table and key of a policy file's text."""
    return {location: f"{name}:{line}" for location, line in line_numbers(text).items()}
