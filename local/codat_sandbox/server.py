"""The sandbox's HTTP server: Codat's API behind its key and its limits, and the sandbox's own operations beside it."""

import asyncio
import base64
import hmac
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.codat_sandbox import answers
from local.codat_sandbox.admin import Admin
from local.codat_sandbox.codat_api import CodatApi
from local.codat_sandbox.errors import DatasetAlreadyInProgressError, SandboxError, UnauthorizedError
from local.codat_sandbox.prescribed import PrescribedAnswer
from local.codat_sandbox.sandbox import Sandbox


def create_app(sandbox: Sandbox) -> ASGIApp:
    """The ASGI application that serves `sandbox`."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(sandbox.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await sandbox.webhooks.close()

    async def refuse(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else _status(error, sandbox)
        message = error.detail if isinstance(error, HTTPException) else str(error)
        return JSONResponse(answers.error(status, message, request.state.correlation_id), status_code=status)

    codat_routes = CodatApi(sandbox).routes()
    app = Starlette(
        routes=[*codat_routes, *Admin(sandbox).routes()],
        exception_handlers={SandboxError: refuse, HTTPException: refuse},
        lifespan=lifespan,
    )
    return _Gate(app, codat_routes, sandbox)


def _status(error: Exception, sandbox: Sandbox) -> int:
    if isinstance(error, DatasetAlreadyInProgressError):
        return sandbox.settings.already_in_progress_status
    return int(error.status) if isinstance(error, SandboxError) else 500


def authorization(api_key: str) -> str:
    """The Authorization header of a request with the API key."""
    return "Basic " + base64.b64encode(api_key.encode()).decode()


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer that was made, but not yet sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _Gate:
    """Lets requests to Codat's API through to `app` as the key, the limits and the prescribed answers allow."""

    def __init__(self, app: ASGIApp, codat_routes: list[Route], sandbox: Sandbox) -> None:
        self._app = app
        self._codat_routes = codat_routes
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["correlation_id"] = uuid4().hex
        if scope["path"].startswith("/sandbox/"):
            await self._app(scope, receive, send)
            return
        operation, company_id = self._operation(scope)
        self._sandbox.calls[operation] += 1
        prescribed = self._sandbox.prescribed.take(scope["method"], scope["path"])
        if prescribed is None:
            answer = await self._answer(scope, receive, company_id)
            await _send(answer, self._limit_headers(), send)
        else:
            await self._give(prescribed, scope, receive, send)

    def _operation(self, scope: Scope) -> tuple[str, str | None]:
        """The name of the operation asked for, and the company that it concerns."""
        for route in self._codat_routes:
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                return route.name, child_scope["path_params"].get("company_id")
        return "unknown", None

    async def _answer(self, scope: Scope, receive: Receive, company_id: str | None) -> _Answer:
        """What Codat answers, once its key and its limits allow it."""
        sandbox = self._sandbox
        given = Headers(scope=scope).get("authorization", "")
        if not hmac.compare_digest(given.encode(), authorization(sandbox.api_key).encode()):
            return _refusal(401, str(UnauthorizedError()), scope)
        exceeded = sandbox.limits.enter(scope["client"][0], company_id, sandbox.settings, sandbox.quota, sandbox.now())
        if exceeded is not None:
            sandbox.changed()
            seconds = max(1, math.ceil(exceeded.retry_after.total_seconds()))
            return _refusal(429, exceeded.reason, scope, ("Retry-After", str(seconds)))
        try:
            await asyncio.sleep(sandbox.settings.latency.total_seconds())
            return await self._carry_out(scope, receive)
        finally:
            sandbox.limits.leave(company_id)

    async def _carry_out(self, scope: Scope, receive: Receive) -> _Answer:
        """Do what is asked; the answer to it."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        start, *bodies = messages
        headers = tuple((name.decode(), value.decode()) for name, value in start["headers"])
        return _Answer(start["status"], headers, b"".join(body.get("body", b"") for body in bodies))

    async def _give(self, prescribed: PrescribedAnswer, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _prescribed(prescribed)
        if answer is None or prescribed.carry_out:
            own = await self._carry_out(scope, receive)
            answer = answer or own
        await asyncio.sleep(prescribed.delay.total_seconds())
        if not prescribed.close:
            cut = prescribed.cut_after is not None
            await _send(answer, self._limit_headers(), send, cut_after=prescribed.cut_after)
            if not cut:
                return
        self._sandbox.close_connection(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass

    def _limit_headers(self) -> tuple[tuple[str, str], ...]:
        limits, quota = self._sandbox.limits, self._sandbox.quota
        return (
            ("X-Rate-Limit-Limit", str(quota)),
            ("X-Rate-Limit-Remaining", str(limits.remaining(quota, self._sandbox.now()))),
            ("X-Rate-Limit-Reset", str(int(limits.resets_at().timestamp()))),
        )


def _refusal(status: int, message: str, scope: Scope, *headers: tuple[str, str]) -> _Answer:
    response = JSONResponse(answers.error(status, message, scope["state"]["correlation_id"]), status_code=status)
    return _Answer(status, (*response.headers.items(), *headers), bytes(response.body))


def _prescribed(prescribed: PrescribedAnswer) -> _Answer | None:
    """The answer that was prescribed, or None if it is to be the sandbox's own."""
    if prescribed.status is None:
        return None
    body = prescribed.body.encode()
    own = {} if prescribed.status == 204 else {"content-length": str(len(body)), "content-type": "application/json"}
    given = {name.lower(): value for name, value in prescribed.headers.items()}
    return _Answer(prescribed.status, tuple({**own, **given}.items()), body)


async def _send(
    answer: _Answer, defaults: tuple[tuple[str, str], ...], send: Send, cut_after: int | None = None
) -> None:
    """Send an answer with the `defaults` of the headers that it lacks; only so many bytes of its body, if so asked."""
    names = {name.lower() for name, _ in answer.headers}
    headers = [*answer.headers, *(header for header in defaults if header[0].lower() not in names)]
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }
    )
    cut = cut_after is not None
    body = answer.body[:cut_after] if cut else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": cut})
