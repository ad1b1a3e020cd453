"""Arguments and options that several commands have."""

from typing import Annotated

import typer

from deployed.stack import DeployedStack

CompanyName = Annotated[
    str,
    typer.Argument(metavar="COMPANY", help="A company's id, or its name or the beginning of it.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; durations are in seconds, times in UTC.")]


def selected_stack(context: typer.Context) -> DeployedStack:
    """Return the stack that the options before the command select."""
    stack: DeployedStack = context.obj
    return stack
