"""`freshness audit`: who did what."""

from datetime import timedelta
from typing import Annotated

import typer

from cli import arguments
from cli.arguments import Json, option, selected_stack
from cli.output import new_table, print_json, print_table, print_text
from freshness.app.reading.queries import NotFound
from freshness.app.reading.text import duration, moment
from freshness.domain.audit import KEPT
from stack_access.stack import DeployedStack, clock


def _length(given: str | timedelta) -> timedelta:
    length = arguments.duration(given)
    if length > KEPT:
        raise typer.BadParameter(f"expected at most {KEPT.days}d, for which it is kept, got {given!r}")
    return length


def audit(
    context: typer.Context,
    *,
    since: Annotated[
        timedelta, option("DURATION", "How far back: 24h, 30d or 4w.", parser=_length, default="30d")
    ] = timedelta(days=30),
    company: Annotated[str | None, option("COMPANY", "What was done to one company.")] = None,
    as_json: Json = False,
) -> None:
    """Show who did what: refreshes, pauses, requests for fresh data and other operations, the latest first."""
    now, stack = clock(), selected_stack(context)
    wanted = _company_id(stack, company) if company else None
    entries = [each for each in stack.tables.audit.since(now - since, now) if wanted in (None, each.company_id)]
    entries.reverse()
    if as_json:
        print_json(entries)
        return
    if not entries:
        print_text(f"Nobody did anything in the last {duration(since)}.")
        return
    names = stack.tables.companies.get_many({each.company_id for each in entries} - {""})
    table = new_table("at (UTC)", "operation", "company", "what", "who", "from")
    for each in entries:
        name = names[each.company_id].name if each.company_id in names else each.company_id
        what = f"{each.what} failed: {each.failed}".strip() if each.failed else each.what
        table.add_row(moment(each.at), each.operation, name or "all", what, each.who, each.source)
    print_table(table)


def _company_id(stack: DeployedStack, company: str) -> str:
    """Return the id of a company, which may no longer exist."""
    try:
        return stack.queries.find_company(company).company_id
    except NotFound:
        return company
