"""The sandbox's ASGI application: Codat's API and, under `/sandbox`, the sandbox's own API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from codat_sandbox import responses
from codat_sandbox.admin_api import AdminApi
from codat_sandbox.codat_api import CodatApi
from codat_sandbox.console import Console
from codat_sandbox.errors import DatasetAlreadyInProgressError, SandboxError
from codat_sandbox.middleware import CodatApiMiddleware
from codat_sandbox.sandbox import Sandbox


def create_app(sandbox: Sandbox) -> ASGIApp:
    """Return the ASGI application that serves `sandbox`."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(sandbox.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await sandbox.webhooks.close()

    async def handle_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else _status(error, sandbox)
        message = error.detail if isinstance(error, HTTPException) else str(error)
        return JSONResponse(responses.error(status, message, request.state.correlation_id), status_code=status)

    codat = CodatApi(sandbox)
    codat_routes = [*codat.routes(), *codat.other_routes()]
    app = Starlette(
        routes=[*codat_routes, *AdminApi(sandbox).routes(), *Console(sandbox).routes()],
        exception_handlers={SandboxError: handle_error, HTTPException: handle_error},
        lifespan=lifespan,
    )
    return CodatApiMiddleware(app, codat_routes, sandbox)


def _status(error: Exception, sandbox: Sandbox) -> int:
    if isinstance(error, DatasetAlreadyInProgressError):
        return sandbox.settings.already_in_progress_status
    return int(error.status) if isinstance(error, SandboxError) else 500
