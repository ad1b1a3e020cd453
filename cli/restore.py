"""`freshness restore`: the tables as they were at a time."""

from dataclasses import astuple
from datetime import datetime
from typing import Annotated

import typer

from cli.arguments import Json, option, past_time, selected_stack
from cli.output import print_json, print_text
from freshness.app import audit
from freshness.app.reading.text import moment
from freshness.domain.audit import Operation
from freshness.domain.companies.pause import Pause, in_force
from stack_access.recovery import Recovery, new_table
from stack_access.stack import clock


def restore(
    context: typer.Context,
    *,
    to: Annotated[
        datetime,
        option(
            "TIME",
            'The time, of the last 35 days: "2026-12-24 18:00", in UTC or with a zone after it, or 2h ago as 2h.',
            parser=past_time,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Put companies and feeds back as they were at a time, and add other records that are missing.

    Everything is paused until "resume". Run it again if it fails. It takes an hour or more.
    """
    stack = selected_stack(context)
    to = to.replace(microsecond=0)
    with audit.recorded(stack.services, stack.actor, Operation.RESTORE, f"to {moment(to)} UTC"):
        if not in_force(stack.tables.control.paused(), clock()):
            stack.operations.pause_all(Pause(reason=f"restore to {moment(to)} UTC"))
        dynamodb = stack.session.client("dynamodb", endpoint_url=stack.endpoint)
        recovery = Recovery(dynamodb=dynamodb, names=stack.outputs.tables, to=to)
        recovery.begin()
        if not as_json:
            print_text("Everything is paused. AWS restores the tables to new ones, which takes an hour or more.")
        recovery.wait()
        written = recovery.copy()
    new = [new_table(name) for name in astuple(stack.outputs.tables)]
    if as_json:
        print_json({"to": to, "written": written, "newTables": new})
        return
    for name, number in written.items():
        print_text(f"{number:8} items of {name} were written.")
    print_text('Look at "./freshness status", then run "./freshness resume", and delete the new tables:')
    for name in new:
        print_text(f"  aws dynamodb delete-table --table-name {name}")
