"""Public holidays by the code of a country, or of a part of it.

The package `holidays` is large and slow to import, so it is not deployed: `cdk synth` writes the dates of the coming
years, for the codes that the policy names, into a file next to it, which the functions read instead.
"""

import json
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

FILE = "holidays.json"
"""The file with the dates, in the folder of the policy."""
YEARS_AHEAD = 10
"""For how many years dates are written."""


def public_holidays(code: str, first_year: int) -> tuple[date, ...]:
    """Return the holidays of a country or a part of it, such as `GB-ENG`, from a year on.

    Raises:
        ValueError: there is no such code.
    """
    import holidays

    country, _, part = code.partition("-")
    try:
        found = holidays.country_holidays(
            country, subdiv=part or None, years=range(first_year, first_year + YEARS_AHEAD)
        )
    except NotImplementedError:
        parts = holidays.list_supported_countries().get(country)
        hint = f"; the parts of {country} are {', '.join(parts)}" if parts else ""
        raise ValueError(
            f'expected the code of a country such as "GB" or of a part of it such as "GB-ENG", got {code!r}{hint}'
        ) from None
    return tuple(sorted(found))


def resolved(policy: str, first_year: int) -> str:
    """Return the content of the file for the text of a valid policy; empty if it names no code."""
    tables = tomllib.loads(policy).get("calendars", {}).values()
    codes = sorted({table["holidays"] for table in tables if "holidays" in table})
    if not codes:
        return ""
    return json.dumps({code: [day.isoformat() for day in public_holidays(code, first_year)] for code in codes})


def written_beside(policy: Path) -> Mapping[str, tuple[date, ...]] | None:
    """Return the dates in the file next to a policy, by code; `None` if there is no such file."""
    file = policy.parent / FILE
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return {code: tuple(map(date.fromisoformat, days)) for code, days in found.items()}
