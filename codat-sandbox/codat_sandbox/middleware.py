"""ASGI middleware in front of Codat's API: authentication, rate limits, idempotency keys and stub responses."""

import asyncio
import base64
import hmac
import math
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codat_sandbox import responses
from codat_sandbox.errors import SandboxError, UnauthorizedError
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.stubs import StubResponse


def authorization(api_key: str) -> str:
    """Return the Authorization header of a request with the API key."""
    return "Basic " + base64.b64encode(api_key.encode()).decode()


class CodatApiMiddleware:
    """Middleware that passes requests to `app` if the API key is valid, and no limit and no stub response applies.

    Requests to the sandbox's own API, under `/sandbox/`, pass without any check.
    """

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
        stub = self._sandbox.stubs.take(scope["method"], scope["path"])
        if stub is None:
            await self._send(await self._respond(scope, receive, company_id), send)
        else:
            await self._send_stub(stub, scope, receive, send)

    def _operation(self, scope: Scope) -> tuple[str, str | None]:
        """Return the name of the requested operation, and the id of the company in its path."""
        for route in self._codat_routes:
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                return route.name, child_scope["path_params"].get("company_id")
        return "unknown", None

    async def _respond(self, scope: Scope, receive: Receive, company_id: str | None) -> Response:
        """Return the response of `app`, or a 401 or 429 error."""
        sandbox = self._sandbox
        header = Headers(scope=scope).get("authorization", "")
        if not hmac.compare_digest(header.encode(), authorization(sandbox.api_key).encode()):
            return _error(401, str(UnauthorizedError()), scope)
        exceeded = sandbox.limits.enter(scope["client"][0], company_id, sandbox.settings, sandbox.quota, sandbox.now())
        if exceeded is not None:
            sandbox.changed()
            refusal = _error(429, exceeded.reason, scope)
            refusal.headers["Retry-After"] = str(max(1, math.ceil(exceeded.retry_after.total_seconds())))
            return refusal
        try:
            return await self._call_app_once(scope, receive, sandbox.settings.latency.total_seconds())
        finally:
            sandbox.limits.leave(company_id)

    async def _call_app_once(self, scope: Scope, receive: Receive, latency: float = 0.0) -> Response:
        """Return the response of `app`, or the one to the first request with the same idempotency key."""
        key = Headers(scope=scope).get("idempotency-key", "")
        if scope["method"] not in ("POST", "PATCH") or not key:
            await asyncio.sleep(latency)
            return await self._call_app(scope, receive)
        keys, body = self._sandbox.idempotency_keys, await Request(scope, receive).body()
        request = f"{scope['method']} {scope['path']}?".encode() + scope["query_string"] + b"\n" + body
        try:
            known = keys.begin(key, request, self._sandbox.now())
        except SandboxError as error:
            return _error(int(error.status), str(error), scope)
        if known:
            await asyncio.sleep(latency)
            return known
        response: Response | None = None
        try:
            await asyncio.sleep(latency)
            response = await self._call_app(scope, _receive_again(body, receive))
        finally:
            keys.end(key, response)
        return response

    async def _call_app(self, scope: Scope, receive: Receive) -> Response:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        start, *bodies = messages
        content = b"".join(body.get("body", b"") for body in bodies)
        return Response(content, start["status"], Headers(raw=start["headers"]))

    async def _send_stub(self, stub: StubResponse, scope: Scope, receive: Receive, send: Send) -> None:
        response = _stub_response(stub)
        if response is None or stub.carry_out:
            own = await self._call_app_once(scope, receive)
            response = response or own
        await asyncio.sleep(stub.delay.total_seconds())
        if not stub.close:
            await self._send(response, send, stub.cut_after)
            if stub.cut_after is None:
                return
        self._sandbox.close_connection(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _send(self, response: Response, send: Send, cut_after: int | None = None) -> None:
        """Send a response with the headers of the limits that it lacks, or the first `cut_after` bytes of its body."""
        limits, quota = self._sandbox.limits, self._sandbox.quota
        headers = {
            "x-rate-limit-limit": str(quota),
            "x-rate-limit-remaining": str(limits.remaining(quota, self._sandbox.now())),
            "x-rate-limit-reset": str(int(limits.resets_at().timestamp())),
            **response.headers,
        }
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": response.status_code, "headers": raw})
        is_cut = cut_after is not None
        await send({"type": "http.response.body", "body": response.body[:cut_after], "more_body": is_cut})


def _receive_again(body: bytes, receive: Receive) -> Receive:
    """Return a channel that first receives the body of a request, which was read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _error(status: int, message: str, scope: Scope) -> Response:
    return JSONResponse(responses.error(status, message, scope["state"]["correlation_id"]), status_code=status)


def _stub_response(stub: StubResponse) -> Response | None:
    """Return the response that the stub defines, or None if it uses the sandbox's own."""
    if stub.status is None:
        return None
    return Response(stub.body, stub.status, stub.headers, media_type=None if stub.status == 204 else "application/json")
