"""The policy as the functions have it: the tables of its file as JSON, with what only `cdk synth` can add to them.

That is the position of each table in the file, and the dates of public holidays, whose package is not deployed.
"""

import json
import tomllib
from pathlib import Path

from freshness.policy.loader import load, positions
from freshness.policy.policy import Policy

FILE = "policy.json"
"""The file's name in the bundle."""


def compiled(path: Path) -> str:
    """Return the content of the file for a policy file, which is validated.

    Raises:
        freshness.policy.errors.PolicyError: it is not a valid policy file.
    """
    policy, text = load(path), path.read_text(encoding="utf-8-sig")
    holidays = [calendar.holidays for calendar in policy.calendars.values() if calendar.holidays]
    content = {
        "tables": tomllib.loads(text),
        "holidays": {each.code: each.dates for each in holidays},
        "positions": list(positions(path.name, text).items()),
    }
    return json.dumps(content, default=str)


def read(folder: Path) -> Policy:
    """Return the policy that was compiled into a folder."""
    content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    policy = Policy.model_validate(content["tables"], context={"holidays": content["holidays"]})
    return policy.with_positions({tuple(location): position for location, position in content["positions"]})
