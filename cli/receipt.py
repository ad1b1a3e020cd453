"""`freshness receipt`: who asked for fresh data, and what the answer was."""

from typing import Annotated

import typer

from cli.arguments import Json, argument, selected_stack
from cli.errors import CommandError
from cli.output import new_table, print_json, print_table, print_text
from freshness.app.ensure.accept import LONGEST_ID
from freshness.app.reading.text import moment
from stack_access.stack import clock

RequestId = Annotated[str, argument("ID", "The id of the request.")]


def receipt(context: typer.Context, request_id: RequestId, *, as_json: Json = False) -> None:
    """Show who asked for fresh data, when and for what, and the answer for each data type."""
    stack = selected_stack(context)
    request = stack.tables.requests.get(request_id) if len(request_id) <= LONGEST_ID else None
    if request is None or request.expires_at <= clock():
        raise CommandError("There is no such request, or it is no longer kept: see keep_requests in docs/policy.md.")
    if as_json:
        print_json(request)
        return
    company = stack.tables.companies.get(request.company_id)
    name = f"{company.name} ({request.company_id})" if company and company.name else request.company_id
    print_text(f"Request   {request.request_id} about {name}", "bold")
    print_text(f"By        {request.caller or 'unknown'}, at {moment(request.accepted_at)} UTC")
    print_text(f"For       {request.purpose or '-'}")
    print_text(f"Asked     {', '.join(request.data_types)} as of {moment(request.not_before)} UTC or later")
    print_text(f"          by {moment(request.deadline)} UTC")
    print_text(f"Answered  {f'at {moment(request.ended_at)} UTC' if request.ended_at else 'not yet'}")
    table = new_table("data type", "state", "as of (UTC)", "dataset", "note")
    for each in request.results:
        estimated = " (estimated)" if each.as_of_is_estimated else ""
        cells = each.state, moment(each.as_of) + estimated, each.dataset_id or "-", each.reason
        table.add_row(each.data_type, *cells)
    print_table(table)
