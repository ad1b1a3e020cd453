"""`freshness refresh`: having data types refreshed now, whatever their promise says."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.companies import CompanyName, find_company, find_rows
from cli.errors import CommandError
from cli.fleet import decisions_on, lines_of
from cli.output import Json, say_json, show, table
from cli.target import Target, target
from cli.ticks import run_tick, ticks_client
from freshness.company import Company
from freshness.dataset import AskedBy
from freshness.row import Row

PATIENCE = timedelta(seconds=60)
"""How long a tick is given to queue what was asked for; one that runs already is waited for."""
PAUSE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of one data type."""

    data_type: str
    connection_id: str
    outcome: str
    dataset_id: str


def refresh(
    context: typer.Context,
    company: CompanyName,
    data_types: Annotated[
        list[str] | None, typer.Argument(metavar="[TYPE]...", help="Data types; all of them if none is named.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Have a company's data types refreshed now, once. What is in flight already is not asked for again."""
    stack = target(context)
    found = find_company(stack.store, company)
    rows = find_rows(stack.store, found, data_types or [])
    _require_unpaused(stack, found)
    before = {(row.data_type, row.connection_id): row for row in rows}
    wanted = [row for row in rows if _may_be_asked_for(stack, found, row)]
    now = datetime.now(UTC)
    for row in wanted:
        _ask_for(stack, found, row, now)
    if wanted:
        _await_tick(stack, wanted)
    after = [stack.store.row(row.company_id, row.data_type, row.connection_id) for row in rows]
    asked = [_asked(stack, found, before[row.data_type, row.connection_id], row) for row in after]
    if as_json:
        say_json(asked)
    else:
        _show(asked)
    if any(row.asked_for_at for row in after):
        raise CommandError('Not all was queued; it will be as soon as it can. "./freshness doctor" tells what hinders.')


def _require_unpaused(stack: Target, company: Company) -> None:
    if company.paused:
        raise CommandError(f'{company.name} is paused: "./freshness resume {company.company_id}" takes that back.')
    if stack.store.is_paused():
        raise CommandError('Everything is paused: "./freshness resume" takes that back.')


def _may_be_asked_for(stack: Target, company: Company, row: Row) -> bool:
    connection = company.connections.get(row.connection_id)
    if connection is None or row.in_flight:
        return False
    return row.due(stack.policy.promise(row.data_type, company, connection), connection) is not None


def _ask_for(stack: Target, company: Company, row: Row, now: datetime) -> None:
    connection = company.connections[row.connection_id]
    promise = stack.policy.promise(row.data_type, company, connection)
    stack.store.change_row(row, lambda row: row.asked_for(now).planned(promise, connection))


def _await_tick(stack: Target, wanted: list[Row]) -> None:
    """Have ticks run until one has queued what is wanted: one that runs already leaves no room for another."""
    client, deadline = ticks_client(stack), time.monotonic() + PATIENCE.total_seconds()
    while True:
        run_tick(client, stack.outputs.queue_refreshes_function)
        rows = (stack.store.row(row.company_id, row.data_type, row.connection_id) for row in wanted)
        if not any(row.asked_for_at for row in rows) or time.monotonic() > deadline:
            return
        time.sleep(PAUSE.total_seconds())


def _asked(stack: Target, company: Company, before: Row, after: Row) -> Asked:
    now = datetime.now(UTC)
    decisions = decisions_on([after], [company], stack.store, stack.policy, now)
    line = next(lines_of(company, [after], decisions, stack.store, stack.policy, now), None)
    return Asked(
        data_type=after.data_type,
        connection_id=after.connection_id,
        outcome=_outcome(before, after, line.obstacle if line else "its connection is not known yet"),
        dataset_id=after.request.dataset_id if after.request else "",
    )


def _outcome(before: Row, after: Row, obstacle: str) -> str:
    if after.asked_for_at:
        return "not queued yet"
    if after.request and after.request != before.request and after.request.asked_by is AskedBy.PERSON:
        return "queued"
    return obstacle or "already in flight"


def _show(asked: list[Asked]) -> None:
    shown = table("data type", "outcome", "dataset")
    for one in asked:
        shown.add_row(one.data_type, one.outcome, one.dataset_id)
    show(shown)
