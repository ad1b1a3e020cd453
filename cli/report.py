"""`freshness report`: what share of the promised time data was as fresh as promised."""

import csv
import re
import sys
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic_core import to_jsonable_python
from rich.text import Text

from cli.arguments import Json, selected_stack
from cli.output import new_table, print_json, print_table, print_text
from deployed.stack import clock
from freshness.app.report import attainment
from freshness.app.text import duration, moment
from freshness.app.views import AttainmentView
from freshness.domain.attainment import DAY, DAYS_KEPT, HOUR, Kind

UNITS = {"h": HOUR, "d": DAY, "w": 7 * DAY}
LITTLE_LEFT = 0.25
"""The part of an error budget below which little of it is left."""
TITLES = {None: "all", Kind.RULE: "rule", Kind.DATA_TYPE: "data type", Kind.PLATFORM: "platform", Kind.TAG: "tag"}


class Column(StrEnum):
    """The columns of the CSV file, and the keys in JSON. Times are feed-time in seconds."""

    SINCE = "since"
    KIND = "kind"
    NAME = "name"
    ATTAINMENT = "attainment"
    OBJECTIVE = "objective"
    BUDGET_LEFT = "budget_left"
    PROMISED = "promised"
    LATE = "late"
    WAITING = "waiting"


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9]\d{0,3})([hdw])", text)
    length = int(found[1]) * UNITS[found[2]] if found else timedelta.max
    if length > DAYS_KEPT:
        raise typer.BadParameter(f"expected a time such as 24h, 30d or 4w, of at most {DAYS_KEPT.days}d, got {text!r}")
    return length


def report(
    context: typer.Context,
    *,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 24h, 30d or 4w.")] = "30d",
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show what share of the promised time data was as fresh as promised, and the error budget that is left."""
    length, now = _length(since), clock()
    queries = selected_stack(context).queries
    rows = attainment(queries.tables, queries.policy, now, length)
    if as_json:
        print_json([_record(row) for row in rows])
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, list(Column))
        writer.writeheader()
        writer.writerows(to_jsonable_python(_record(row), timedelta_mode="float") for row in rows)
    else:
        _print(rows)


def _record(row: AttainmentView) -> dict[Column, Any]:
    return {
        Column.SINCE: row.since,
        Column.KIND: row.kind or "all",
        Column.NAME: row.name,
        Column.ATTAINMENT: row.times.share,
        Column.OBJECTIVE: row.objective,
        Column.BUDGET_LEFT: row.budget_left,
        Column.PROMISED: row.times.promised,
        Column.LATE: row.times.late,
        Column.WAITING: row.times.waiting,
    }


def _print(rows: Iterable[AttainmentView]) -> None:
    whole, *parts = rows
    if whole.times.share is None:
        print_text("Nothing was promised yet: attainment is recorded from the first check of a company on.")
        return
    print_text(f"{whole.times.share:.2%} of promises were kept since {moment(whole.since)} UTC.", "bold")
    table = new_table("", "", "kept", "objective", "budget left", "promised", "late", "waiting for customers")
    kind = None
    for row in parts:
        title, kind = TITLES[row.kind] if row.kind is not kind else "", row.kind
        times = row.times
        table.add_row(
            Text(title, style="bold"),
            Text(row.name),
            _kept(row),
            "" if row.objective is None else f"{100 * row.objective:.4g}%",
            _budget(row),
            *(duration(each) if each else "-" for each in (times.promised, times.late, times.waiting)),
        )
    print_table(table)
    print_text("Times are those of all feeds together. What waited for customers counts neither as kept nor as late.")


def _kept(row: AttainmentView) -> Text:
    share = row.times.share
    if share is None:
        return Text("-")
    if row.objective is None:
        return Text(f"{share:.2%}")
    return Text(f"{share:.2%}", style="green" if share >= row.objective else "red")


def _budget(row: AttainmentView) -> Text:
    left = row.budget_left
    if left is None:
        return Text("")
    return Text(f"{left:.0%}", style="red" if left <= 0 else "yellow" if left < LITTLE_LEFT else "green")
