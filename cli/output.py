"""Printing results: as JSON for programs, as text for people."""

from dataclasses import fields, is_dataclass
from typing import Any

import typer
from pydantic.alias_generators import to_camel
from pydantic_core import to_json
from rich.table import Table
from rich.text import Text

from freshness.app.reading.text import codat_words, moment
from freshness.app.reading.views import LinkView
from freshness.domain.clean_text import HIDDEN, clean_lines, shown
from freshness.domain.datasets.dataset import LONGEST_REASON, Dataset
from freshness.domain.feeds.feed_values import State
from stack_access.text import STYLES, CleanConsole

_NOT_WRAPPED = ("data type", "state", "age", "promise", "oldest", "due (UTC)", "requested (UTC)", "trigger")
"""Columns whose texts are too short to be wrapped."""
_WIDTH_WITHOUT_TERMINAL = 240

_console = CleanConsole()
if not _console.is_terminal:
    _console = CleanConsole(width=_WIDTH_WITHOUT_TERMINAL)


def print_table(table: Table) -> None:
    """Print a table."""
    _console.print(table)


def print_text(text: str | Text, style: str = "") -> None:
    """Print a line of text. The terminal wraps it, so that links can be clicked and copied."""
    _console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print a line on the standard error."""
    typer.echo(clean_lines(text), err=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    text = to_json(with_json_keys(value), indent=2, timedelta_mode="float").decode()
    lines = (HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in text.split("\n"))
    typer.echo("\n".join(lines))


def with_json_keys(value: Any) -> Any:
    """Return a value with its fields named as in the JSON of Codat and of the API, such as `dueAt`.

    Keys that are data, such as the names of tags, stay as they are. Characters that JSON cannot have become `?`.
    """
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {key: with_json_keys(each) for key, each in value.items()}
        case list() | tuple():
            return [with_json_keys(each) for each in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {to_camel(each.name): with_json_keys(getattr(value, each.name)) for each in fields(value)}
        case _:
            return value


def new_table(*columns: str) -> Table:
    """Return an empty table without borders."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _NOT_WRAPPED)
    return table


def print_issues(dataset: Dataset) -> None:
    """Print what Codat said about a dataset: its issues, or if it has none, why it failed or waits."""
    requested_at = moment(dataset.requested_at)
    for issue in dataset.issues:
        said = codat_words(shown(issue.message, LONGEST_REASON))
        print_text(f"Issue     {requested_at} {shown(issue.type, LONGEST_REASON)}: {said}", "yellow")
    if dataset.reason and not dataset.issues:
        print_text(f"Issue     {requested_at} {codat_words(shown(dataset.reason, LONGEST_REASON))}", "yellow")


def link_text(link: LinkView) -> str:
    """Return a sentence with the link where the customer authorises a connection again."""
    if not link.url:
        return f"Codat has no link for the customer to authorise {link.platform} again."
    text = f"The customer authorises {link.platform} again at {link.url}"
    if link.is_live:
        return text
    return (
        f"{text} (as of {moment(link.read_at)} UTC: Codat could not be asked for another one, so it may have expired)"
    )


def state_text(state: State) -> Text:
    """Return a state with its symbol."""
    symbol, style = STYLES[state]
    return Text(f"{symbol} {state}", style=style)
