"""`freshness dataset`: the company, data type, state and trigger of a dataset."""

from typing import Annotated

import typer

from cli.arguments import Json, argument, selected_stack
from cli.output import print_issues, print_json, print_text
from freshness.app.reading.text import changed, duration, moment
from freshness.domain.datasets.dataset import Trigger
from stack_access.stack import clock

_ASKED = {
    Trigger.PROMISE: "the promise",
    Trigger.OPERATOR: "an operator",
    Trigger.KEEP_ALIVE: "this system, to keep the connection alive",
    Trigger.ON_DEMAND: "a program, by the API",
    Trigger.EXTERNAL: "Codat's own schedule, its portal, or another program",
}


def dataset(
    context: typer.Context,
    dataset_id: Annotated[str, argument("ID", "The dataset's id at Codat.")],
    *,
    as_json: Json = False,
) -> None:
    """Show the company, data type and state of a dataset, and who asked for it."""
    found = selected_stack(context).queries.dataset(dataset_id)
    if as_json:
        print_json(found)
        return
    dataset, ended_at = found.dataset, found.dataset.ended_at
    platform = found.platform or "a connection that the company no longer has"
    print_text(f"{found.data_type} of {found.company_name}, from {platform} ({found.connection_id})", "bold")
    took = f"after {duration(ended_at - dataset.requested_at)}" if ended_at else ""
    print_text(f"State     {dataset.state}, {took or f'for {duration(clock() - dataset.requested_at)}'}")
    print_text(f"Asked by  {_ASKED[dataset.trigger]}")
    print_text(f"Requested {moment(dataset.requested_at)} UTC")
    if ended_at:
        print_text(f"Ended     {moment(ended_at)} UTC")
        print_text(f"Changed   {changed(dataset.records_modified, dataset.modified_from)}")
    print_text(f"Company   {found.company_id}")
    print_issues(dataset)
