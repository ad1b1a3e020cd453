"""Arguments and options that several commands have."""

from datetime import timedelta
from typing import Annotated

import typer

from freshness.policy.values import parse_duration
from stack_access.stack import DeployedStack


def nonblank(given: str) -> str:
    """Return a name that an argument gives.

    Raises:
        typer.BadParameter: it is blank.
    """
    if not given.strip():
        raise typer.BadParameter("expected a name, got nothing")
    return given.strip()


CompanyName = Annotated[
    str,
    typer.Argument(
        parser=nonblank,
        metavar="COMPANY",
        help="A company's id, or its name or the beginning of it.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; durations are in seconds, times in UTC.")]


def duration(given: str | timedelta) -> timedelta:
    """Return the duration that an option gives, or its default.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        return given if isinstance(given, timedelta) else parse_duration(given.strip())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def selected_stack(context: typer.Context) -> DeployedStack:
    """Return the stack that the options before the command select."""
    stack: DeployedStack = context.obj
    return stack
