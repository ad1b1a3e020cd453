"""The command `python -m codat_sandbox`, which serves a Codat sandbox on this machine.

The environment variable SANDBOX_API_KEY sets the API key. SANDBOX_SIGNING_SECRET, if set, is the signing secret of all
webhook consumers; otherwise each consumer gets its own, derived from the seed.
"""

import os
from contextlib import suppress
from datetime import timedelta
from typing import Annotated

import typer
from pydantic import ValidationError

from codat_sandbox.sandbox import Sandbox
from codat_sandbox.server import LOOPBACK, create_server, listen
from codat_sandbox.settings import Settings

_DEFAULTS = Settings()


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free port.")] = 4577,
    seed: Annotated[int, typer.Option(help="The same seed gives the same companies.")] = _DEFAULTS.seed,
    companies: Annotated[int, typer.Option(help="Number of companies.")] = _DEFAULTS.companies,
    sync_time_min: Annotated[float, typer.Option(help="Minimum duration of a sync in seconds.")] = (
        _DEFAULTS.sync_time_min.total_seconds()
    ),
    sync_time_max: Annotated[float, typer.Option(help="Maximum duration of a sync in seconds.")] = (
        _DEFAULTS.sync_time_max.total_seconds()
    ),
    fails_first: Annotated[float, typer.Option(help="Share of feeds whose first sync fails.")] = _DEFAULTS.fails_first,
    fails_later: Annotated[float, typer.Option(help="Share of later syncs that fail.")] = _DEFAULTS.fails_later,
    needs_relink: Annotated[
        float, typer.Option(help="Share of companies that must be relinked.")
    ] = _DEFAULTS.needs_relink,
    webhooks_lost: Annotated[
        float, typer.Option(help="Share of webhooks that are never sent.")
    ] = _DEFAULTS.webhooks_lost,
    webhooks_doubled: Annotated[float, typer.Option(help="Share of webhooks sent twice.")] = _DEFAULTS.webhooks_doubled,
    webhooks_late: Annotated[float, typer.Option(help="Share of webhooks sent late.")] = _DEFAULTS.webhooks_late,
) -> None:
    """Serve a Codat sandbox on the loopback address until Ctrl-C. SANDBOX_API_KEY sets the API key that it expects."""
    api_key = os.environ.get("SANDBOX_API_KEY")
    if not api_key:
        raise typer.BadParameter("set it to the API key that the sandbox expects", param_hint="SANDBOX_API_KEY")
    try:
        settings = Settings(
            seed=seed,
            companies=companies,
            sync_time_min=timedelta(seconds=sync_time_min),
            sync_time_max=timedelta(seconds=sync_time_max),
            fails_first=fails_first,
            fails_later=fails_later,
            needs_relink=needs_relink,
            webhooks_lost=webhooks_lost,
            webhooks_doubled=webhooks_doubled,
            webhooks_late=webhooks_late,
        )
    except ValidationError as error:
        raise typer.BadParameter(str(error)) from error
    sandbox = Sandbox(settings, api_key, os.environ.get("SANDBOX_SIGNING_SECRET"))
    try:
        listener = listen(port)
    except OSError as error:
        raise typer.BadParameter(
            f"cannot listen on {port} ({error.strerror}); choose another port", param_hint="--port"
        ) from error
    with listener, suppress(KeyboardInterrupt):
        address = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        server = create_server(sandbox, lambda: print(f"Codat sandbox ready at {address}", flush=True))
        server.run(sockets=[listener])


if __name__ == "__main__":
    typer.run(serve)
