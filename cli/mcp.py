"""`freshness mcp`: the stack's answers for an agent."""

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from cli.arguments import selected_stack
from cli.ensure import ensured_by
from cli.errors import CommandError


class Allowed(StrEnum):
    """What an agent may change."""

    ENSURE = "ensure"
    PAUSE = "pause"


def mcp(
    context: typer.Context,
    *,
    allow: Annotated[
        str, typer.Option(metavar="WHAT", help='What the agent may change: "ensure", "pause", or "ensure,pause".')
    ] = "",
    budget: Annotated[
        int, typer.Option(min=0, help="How many refreshes the agent may queue, one call of Codat each.")
    ] = 20,
) -> None:
    """Answer an agent, by the Model Context Protocol on standard input and output. By default it may only read."""
    try:
        allowed = {Allowed(each.strip()) for each in allow.split(",") if each.strip()}
    except ValueError:
        raise typer.BadParameter(f'expected "ensure" or "pause", got "{allow}"', param_hint="--allow") from None
    stack = selected_stack(context).used_by("an agent")
    stack.queries  # noqa: B018 - a stack that does not exist is an error now, not at the first question
    try:
        # Imported here, because the other commands need neither the package nor the time that this takes.
        from cli.agent import server_of
    except ModuleNotFoundError as error:
        raise CommandError(f'The package {error.name} is missing: pip install "codat-freshness[mcp]".') from None
    server_of(stack, partial(ensured_by, stack), allowed, budget).run()
