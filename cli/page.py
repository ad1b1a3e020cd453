"""`freshness page`: are promises kept, whose turn is it, and what next, as a page for a browser."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import selected_stack
from cli.errors import CommandError
from cli.output import print_text
from freshness.app.page.read import page_view
from freshness.app.page.render import Frame, Medium, render
from freshness.app.page.verdict import verdict
from stack_access.page_server import PageServer
from stack_access.stack import clock

UPDATE_EVERY = timedelta(seconds=15)
"""How often a served page updates itself. An update costs some hundred read units."""


def page(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("freshness.html"),
    *,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page to this machine, updating itself, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to serve it on.")] = 4580,
) -> None:
    """Write a page that shows whether promises are kept, whose turn it is and what to do next, or serve it."""
    stack = selected_stack(context).used_by("the page")
    if not serve:
        view = page_view(stack.queries, clock())
        try:
            file.write_text(render(view, Frame(Medium.FILE)), encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise typer.BadParameter(f"it cannot be written: {reason}", param_hint="FILE") from None
        print_text(f"{file}: {verdict(view).text}")
        return
    stack.queries  # noqa: B018 - a stack that does not exist is an error now, not at the first request
    try:
        server = PageServer(stack, port, UPDATE_EVERY)
    except OSError as error:
        raise CommandError(f"Port {port} cannot be used ({error.strerror}): choose another one with --port.") from None
    with server:
        print_text(f"{server.url} (Ctrl-C stops it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
