"""`freshness status`: whether the promises are kept."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cli.companies import find_company
from cli.fleet import Fleet, Line, company_lines, read_fleet
from cli.output import STYLES, Json, duration, moment, say, say_json, show, state, table
from cli.target import target
from freshness.domain.api_limits import ApiLimits
from freshness.domain.company import Company
from freshness.domain.feed import State

WORST = 10
"""Lines that the summary names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The whole fleet at one moment."""

    at: datetime
    companies: int
    paused: bool
    states: Counter[State]
    promises_broken: int
    """Data types that could be as fresh as promised, and are not."""
    oldest_age_against_promise: float | None
    """The worst age of those, as a multiple of its promise."""
    quota: ApiLimits
    not_fresh: tuple[Line, ...]
    """All that is older than promised, also where a person must act before it can be fresh."""


def status(
    context: typer.Context,
    company: Annotated[
        str | None, typer.Argument(help="A company's id or name; all of them if none is named.", show_default=False)
    ] = None,
    *,
    companies: Annotated[bool, typer.Option("--companies", help="List every company with its id.")] = False,
    as_json: Json = False,
) -> None:
    """Tell how fresh everything is, or one company's data types."""
    now = datetime.now(UTC)
    stack = target(context)
    if company:
        found = find_company(stack.store, company)
        lines = company_lines(found, stack.store, stack.policy, now)
        say_json({"company": found, "lines": lines}) if as_json else _show_company(found, lines)
        return
    fleet = read_fleet(stack.store, stack.policy, now)
    if companies:
        _list_companies(fleet, as_json)
        return
    summary = _summary(fleet, now, paused=stack.store.is_paused(), quota=stack.store.quota())
    say_json(summary) if as_json else _show(summary, fleet)


def _summary(fleet: Fleet, now: datetime, *, paused: bool, quota: ApiLimits) -> Summary:
    return Summary(
        at=now,
        companies=len({line.company_id for line in fleet.lines}),
        paused=paused,
        states=fleet.states,
        promises_broken=len(fleet.overdue),
        oldest_age_against_promise=max((line.age / line.promise for line in fleet.overdue if line.age), default=None),
        quota=quota,
        not_fresh=tuple(
            sorted(
                (
                    line
                    for line in fleet.lines
                    if not line.keeps_promise and line.state not in (State.UNSUPPORTED, State.OFF)
                ),
                key=_worst_first,
            )
        ),
    )


def _worst_first(line: Line) -> tuple[bool, float]:
    return bool(line.obstacle), -(line.age / line.promise if line.age else float("inf"))


def _show(summary: Summary, fleet: Fleet) -> None:
    if summary.paused:
        say('Everything is paused: "./freshness resume" takes that back.', "yellow")
    say(f"{summary.companies} companies, {len(fleet.lines)} data types: {summary.promises_broken} promises are broken.")
    say(
        Text("  ").join(
            Text(f"{symbol} {name} {summary.states[name]}", style) for name, (symbol, style) in STYLES.items()
        )
    )
    show(_by_data_type(fleet))
    if summary.quota.remaining is not None:
        told = moment(summary.quota.told_at)
        say(f"Calls to Codat left: {summary.quota.remaining} of {summary.quota.limit} a day, as of {told} UTC.")
    if summary.not_fresh:
        say("\nOlder than promised:", "bold")
        show(_lines(summary.not_fresh[:WORST], with_company=True))
    if len(summary.not_fresh) > WORST:
        say(f"and {len(summary.not_fresh) - WORST} more, which --json lists.")


def _by_data_type(fleet: Fleet) -> Table:
    shown = table("data type", *(symbol for symbol, _ in STYLES.values()), "oldest", "promise")
    for data_type in sorted({line.data_type for line in fleet.lines}):
        lines = [line for line in fleet.lines if line.data_type == data_type]
        counts = Counter(line.state for line in lines)
        oldest = max((line.age for line in lines if line.age), default=None)
        promises = {line.promise for line in lines}
        promise = duration(min(promises)) + (f" to {duration(max(promises))}" if len(promises) > 1 else "")
        numbers = (Text(str(counts[each] or ""), style=style) for each, (_, style) in STYLES.items())
        shown.add_row(data_type, *numbers, duration(oldest), promise)
    return shown


def _show_company(company: Company, lines: tuple[Line, ...]) -> None:
    say(f"{company.name} ({company.company_id})", "bold")
    if company.paused:
        say('It is paused: "./freshness resume" takes that back.', "yellow")
    if company.deleted_at:
        say(f"Codat has not known it since {moment(company.deleted_at)} UTC.", "yellow")
    for connection in company.connections.values():
        say(f"{connection.platform}: {connection.status}")
    show(_lines(lines, with_company=False))


def _lines(lines: tuple[Line, ...], *, with_company: bool) -> Table:
    shown = table(*(["company"] if with_company else []), "data type", "state", "age", "promise", "due (UTC)", "why")
    for line in lines:
        due = "now" if line.is_due else "-" if line.state is State.REFRESHING else moment(line.due_at)
        cells = line.data_type, state(line.state), duration(line.age), duration(line.promise), due, line.obstacle
        shown.add_row(*([line.company_name] if with_company else []), *cells)
    return shown


def _list_companies(fleet: Fleet, as_json: bool) -> None:
    names = {line.company_id: line.company_name for line in fleet.lines}
    if as_json:
        say_json([{"company_id": company_id, "company_name": name} for company_id, name in names.items()])
        return
    for company_id, name in names.items():
        say(f"{company_id}  {name}")
