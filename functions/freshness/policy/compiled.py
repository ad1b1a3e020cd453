"""The policy as functions load it: the tables of its file as JSON, and what functions cannot find out.

That is the text of the file, the position of each table in it, and the dates of public holidays, since the package that
knows them is not deployed.
"""

import json
import tomllib
from pathlib import Path

from freshness.policy.file.table import Location
from freshness.policy.loader import load, positions
from freshness.policy.policy import Policy

FILE = "policy.json"
"""The file's name in the bundle."""


def compiled(path: Path) -> str:
    """Validate a policy file, and return the compiled policy.

    Raises:
        freshness.policy.errors.PolicyError: it is not a valid policy file.
    """
    policy, text = load(path), path.read_text(encoding="utf-8-sig")
    holidays = [calendar.holidays for calendar in policy.calendars.values() if calendar.holidays]
    content = {
        "fingerprint": policy.fingerprint,
        "tables": tomllib.loads(text),
        "holidays": {each.code: each.dates for each in holidays},
        "positions": [
            [location, position] for location, position in positions(path.name, text).items() if _is_named(location)
        ],
        "text": text,
    }
    return json.dumps(content, default=str)


def read(folder: Path) -> str:
    """Return the compiled policy, as text, from the folder that has it."""
    return (folder / FILE).read_text(encoding="utf-8")


def parse(content: str) -> Policy:
    """Return the policy from the text that `compiled` returned.

    Raises:
        ValueError: the text is not a compiled policy.
    """
    try:
        known = json.loads(content)
        policy = Policy.model_validate(known["tables"], context={"holidays": known["holidays"]})
        located = {tuple(location): position for location, position in known["positions"]}
        return policy.with_positions(located).with_fingerprint(known["fingerprint"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is no compiled policy: {error!r}") from error


def text_of(content: str) -> str:
    """Return the text of the policy file from what `compiled` returned."""
    return str(json.loads(content)["text"])


def _is_named(location: Location) -> bool:
    """Return whether output may name a location. Of rules it names only the tables: there may be thousands."""
    return location[0] != "rules" or len(location) == 2 or (len(location) == 4 and location[2] == "data_types")
