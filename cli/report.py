"""`freshness report`: what share of the promised time data was as fresh as promised."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic_core import to_jsonable_python
from rich.text import Text

from cli import arguments
from cli.arguments import Json, option, selected_stack
from cli.output import new_table, print_json, print_table, print_text
from freshness.app.page.read import summary_of
from freshness.app.reading.report import attainment, attainment_by
from freshness.app.reading.text import duration, moment
from freshness.app.reading.views import AttainmentView, Summary
from freshness.domain.slo.attainment import DAYS_KEPT, HOUR, Attained, Breakdown, by_hour_since, day_of, hour_of
from stack_access.stack import clock

LITTLE_LEFT = 0.25
"""The part of an error budget below which little of it is left."""


class Step(StrEnum):
    """The length of the periods that a report shows one by one."""

    HOUR = "hour"
    DAY = "day"


def _length(given: str | timedelta) -> timedelta:
    length = arguments.duration(given)
    if not HOUR <= length <= DAYS_KEPT:
        raise typer.BadParameter(f"expected from 1h to {DAYS_KEPT.days}d, got {given!r}")
    return length


def report(
    context: typer.Context,
    *,
    since: Annotated[
        timedelta, option("DURATION", "How far back: 24h, 30d or 4w.", parser=_length, default="30d")
    ] = timedelta(days=30),
    by: Annotated[Step | None, typer.Option(help="Show each hour (of two days at most) or day by itself.")] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show what share of the promised time data was as fresh as promised, and the error budget that is left."""
    now = clock()
    queries = selected_stack(context).queries
    tables, policy = queries.services.tables, queries.services.policy
    if by is Step.HOUR and now - since < by_hour_since(now):
        raise typer.BadParameter("attainment is kept by hour for two days: add --since 48h, or use --by day")
    if by is None:
        periods = [attainment(tables, policy, now, since)]
    else:
        period_of = hour_of if by is Step.HOUR else day_of
        periods = list(attainment_by(tables, policy, now, since, period_of))
    if as_json or as_csv:
        records = [_record(row) for period in periods for row in period]
        print_json(records) if as_json else _print_csv(records)
    elif by:
        _print_periods(periods)
    else:
        _print(periods[0], summary_of(queries, now))


def _record(row: AttainmentView) -> dict[str, Any]:
    """Return a row of the CSV file and of JSON. Durations are sums over all feeds, in seconds."""
    return {
        "since": row.since,
        "kind": row.kind or "all",
        "name": row.name,
        "attainment": row.times.share,
        "objective": row.objective,
        "budgetLeft": row.budget_left,
        "promised": row.times.promised,
        "late": row.times.late,
        "waiting": row.times.waiting,
    }


def _print_csv(records: Sequence[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, records[0])
    writer.writeheader()
    writer.writerows(to_jsonable_python(record, timedelta_mode="float") for record in records)


def _print(rows: Iterable[AttainmentView], current: Summary) -> None:
    """Print how promises are kept now, and the attainment."""
    whole, *parts = rows
    now = f"Now {current.how_kept}"
    if whole.times.share is None:
        print_text(f"{now} How they are kept is recorded from the first list of companies after their first check.")
        return
    print_text(f"{whole.times.share:.2%} of promises were kept since {moment(whole.since)} UTC.", "bold")
    print_text(now)
    table = new_table("", "", "kept", "objective", "budget left", "promised", "late", "waiting for customers")
    kind = None
    for row in parts:
        title, kind = (row.kind or "").replace("_", " ") if row.kind is not kind else "", row.kind
        table.add_row(
            Text(title, style="bold"),
            Text(row.name),
            _kept(row),
            "" if row.objective is None else f"{100 * row.objective:.4g}%",
            _budget(row),
            *_durations(row.times),
        )
    print_table(table)
    print_text("Times are those of all feeds together. What waited for customers counts neither as kept nor as late.")


def _print_periods(periods: Iterable[Sequence[AttainmentView]]) -> None:
    """Print a line for each hour or day, with the rule that was kept least."""
    table = new_table("from (UTC)", "kept", "promised", "late", "waiting for customers", "least kept")
    for whole, *parts in periods:
        rules = [part for part in parts if part.kind is Breakdown.RULE and part.times.late]
        worst = min(rules, key=lambda part: part.times.share or 0.0, default=None)
        table.add_row(
            f"{whole.since:%Y-%m-%d %H:%M}",
            _kept(whole),
            *_durations(whole.times),
            Text.assemble(_kept(worst), f" {worst.name}") if worst else "",
        )
    print_table(table)
    print_text("Times are those of all feeds together. --json and --csv also have each part of the fleet.")


def _durations(times: Attained) -> Iterator[str]:
    return (duration(each) if each else "-" for each in (times.promised, times.late, times.waiting))


def _kept(row: AttainmentView) -> Text:
    share = row.times.share
    if share is None:
        return Text("-")
    style = "" if row.objective is None else "green" if share >= row.objective else "red"
    return Text(f"{share:.2%}", style=style)


def _budget(row: AttainmentView) -> Text:
    left = row.budget_left
    if left is None:
        return Text("")
    return Text(f"{left:.0%}", style="red" if left <= 0 else "yellow" if left < LITTLE_LEFT else "green")
