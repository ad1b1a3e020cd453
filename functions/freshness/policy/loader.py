"""Loading and validation of the policy file."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from freshness.policy.errors import PolicyError, describe, line_numbers
from freshness.policy.policy import Policy
from freshness.policy.table import Location


def load(path: Path) -> Policy:
    """Load and validate a policy file.

    Raises:
        PolicyError: the file is missing, is not UTF-8, is not TOML, or is not a valid policy.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        context = {"year": datetime.now(UTC).year}
        policy = Policy.model_validate(tomllib.loads(text), context=context)
    except OSError as error:
        raise PolicyError(f"{path}: expected a policy file here, but: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{path}:{number}: expected text in UTF-8, but: {error.reason}") from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else text.rstrip("\n").count("\n") + 1
        raise PolicyError(f"{path}:{number}: expected TOML, but: {error}") from error
    except ValidationError as error:
        raise PolicyError(describe(error, str(path), line_numbers(text))) from error
    return policy.with_positions(positions(path.name, text))


def positions(name: str, text: str) -> dict[Location, str]:
    """Return the position, "file:line", of each table and key of a policy file's text."""
    return {location: f"{name}:{line}" for location, line in line_numbers(text).items()}
