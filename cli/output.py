"""How a command answers: in JSON for programs, as text for people."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table
from rich.text import Text

from freshness.domain.feed import State

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON; durations are in seconds, times in UTC.")]

STYLES = {
    State.FRESH: ("●", "green"),
    State.REFRESHING: ("◐", "cyan"),
    State.STALE: ("○", "yellow"),
    State.FAILING: ("▲", "magenta"),
    State.BLOCKED: ("■", "red"),
    State.UNSUPPORTED: ("·", "dim"),
    State.OFF: ("-", "dim"),
}
_WHOLE = ("data type", "state", "age", "promise", "oldest", "due (UTC)", "requested (UTC)", "asked by")
"""Columns that are too short to be broken."""
_WIDE = 240
"""Columns of what is not shown on a terminal but read by another program."""
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))

_console = Console()
if not _console.is_terminal:
    _console = Console(width=_WIDE)


def show(shown: Table) -> None:
    """A table, or whatever else rich can draw."""
    _console.print(shown)


def say(text: str | Text, style: str = "") -> None:
    """A line of text, which the terminal itself wraps so that links can still be followed and copied."""
    _console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def say_json(value: Any) -> None:
    """A value as JSON, indented."""
    typer.echo(to_json(value, indent=2, timedelta_mode="float"))


def table(*columns: str) -> Table:
    """A table without lines, as command lines show them."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    return made


def state(state: State) -> Text:
    """A state with its symbol."""
    symbol, style = STYLES[state]
    return Text(f"{symbol} {state}", style=style)


def duration(length: timedelta | None) -> str:
    """A duration in its largest unit; `never` for none."""
    if length is None:
        return "never"
    for unit, one in _UNITS:
        if length >= one:
            return f"{length // one} {unit}"
    return f"{max(length, timedelta()) // timedelta(seconds=1)} s"


def moment(time: datetime | None) -> str:
    """A time to the second, in UTC; `-` for none."""
    return "-" if time is None else time.strftime("%Y-%m-%d %H:%M:%S")
