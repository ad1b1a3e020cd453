"""Durations as options of commands: `90s`, `10m`, `1h`, `2d`."""

import re
from datetime import timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d{1,6})\s*([smhd])")


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text such as `10m` means.

    Raises:
        typer.BadParameter: it means none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f'expected a duration such as "90s", "10m", "1h" or "2d", got {text!r}')
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
