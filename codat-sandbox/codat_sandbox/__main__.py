"""The command `codat-sandbox`, which serves a Codat sandbox on this machine."""

import os
import secrets
from contextlib import suppress
from datetime import timedelta
from typing import Annotated

import typer
from pydantic import ValidationError

from codat_sandbox.console import CONSOLE
from codat_sandbox.sandbox import Sandbox, new_signing_secret
from codat_sandbox.server import LOOPBACK, create_server, listen
from codat_sandbox.settings import Settings

KEY, SECRET = "SANDBOX_API_KEY", "SANDBOX_SIGNING_SECRET"

_DEFAULTS = Settings()


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free port.")] = 4577,
    companies: Annotated[int, typer.Option(help="Number of companies.")] = _DEFAULTS.companies,
    webhook_url: Annotated[str, typer.Option(help="Where to send all webhooks; more are registered by the API.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same companies.")] = _DEFAULTS.seed,
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
    """Serve Codat's API on the loopback address until Ctrl-C. Reads of its companies' data take time, and some fail.

    SANDBOX_API_KEY and SANDBOX_SIGNING_SECRET set the key and the secret; without them, new ones are made and printed.
    """
    try:
        listener = listen(port)
    except OSError as error:
        raise typer.BadParameter(
            f"cannot listen on {port} ({error.strerror}); choose another port", param_hint="--port"
        ) from error
    address = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
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
            links=f"{address}/sandbox/link",
        )
    except ValidationError as error:
        raise typer.BadParameter(str(error)) from error
    api_key = os.environ.get(KEY) or secrets.token_urlsafe(24)
    signing_secret = os.environ.get(SECRET) or new_signing_secret()
    sandbox = Sandbox(settings, api_key, signing_secret)
    if webhook_url:
        sandbox.webhooks.add_consumer(webhook_url, event_types=(), company_tags=(), disabled=False)
    with listener, suppress(KeyboardInterrupt):
        create_server(sandbox, lambda: _announce(address, api_key, signing_secret)).run(sockets=[listener])


def _announce(address: str, api_key: str, signing_secret: str) -> None:
    """Print how to reach the sandbox, without secrets that were set from outside: the output may be kept."""
    print(f"Codat sandbox ready at {address}")
    print(f"API key         {f'as in {KEY}' if os.environ.get(KEY) else api_key}")
    print(f"Signing secret  {f'as in {SECRET}' if os.environ.get(SECRET) else signing_secret}")
    print(f"Console         {address}{CONSOLE}", flush=True)


def main() -> None:
    typer.run(serve)


if __name__ == "__main__":
    main()
