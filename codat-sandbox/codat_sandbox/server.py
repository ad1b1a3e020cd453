"""The HTTP server of a sandbox, on the loopback address, for the command line and for tests."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import uvicorn

from codat_sandbox.app import create_app
from codat_sandbox.backend import CodatBackend
from codat_sandbox.middleware import authorization
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.settings import Settings

LOOPBACK = "127.0.0.1"
TEST_API_KEY = "sandbox-api-key"

_Result = TypeVar("_Result")


def listen(port: int) -> socket.socket:
    """Return a socket bound to `port` of the loopback address, or to a free port if `port` is 0.

    Raises:
        OSError: the port is in use or not allowed.
    """
    # asyncio turns off Nagle's algorithm, which delays each response by 40 ms, only if the protocol is given.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.close()
        raise
    return listener


def create_server(sandbox: Sandbox, on_start: Callable[[], None]) -> uvicorn.Server:
    """Return a server of `sandbox` that calls `on_start` once it accepts requests."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_start()

        async def main_loop(self) -> None:
            # uvicorn's own sleeps 0.1 seconds at a time, which each of a thousand tests would wait for.
            while not await self.on_tick(0):
                await asyncio.sleep(0.01)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's
            # uvicorn's own waits for the responses that are left, which nobody needs.
            for listening in self.servers:
                listening.close()
            for connection in list(self.server_state.connections):
                connection.transport.close()
            await self.lifespan.shutdown()

    server = Server(
        uvicorn.Config(
            create_app(sandbox),
            host=LOOPBACK,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
    )

    def close_connection(client: tuple[str, int]) -> None:
        for connection in list(server.server_state.connections):
            if getattr(connection, "client", None) == tuple(client):
                connection.transport.close()

    sandbox.close_connection = close_connection
    return server


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that is served at `base_url`. `signing_secret` is empty if each webhook consumer has its own."""

    base_url: str
    api_key: str
    signing_secret: str
    sandbox: Sandbox
    _loop: asyncio.AbstractEventLoop

    @property
    def authorization(self) -> str:
        """Return the Authorization header that the API expects."""
        return authorization(self.api_key)

    @property
    def backend(self) -> CodatBackend:
        """Return the backend. It belongs to the server's thread: use `do` for anything but a single read."""
        return self.sandbox.backend

    def do(self, action: Callable[[Sandbox], _Result]) -> _Result:
        """Run `action` in the server's thread, send the webhooks that it causes, and return its result."""

        async def run() -> _Result:
            try:
                return action(self.sandbox)
            finally:
                self.sandbox.changed()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=10)


@contextmanager
def running_sandbox(
    settings: Settings | None = None, api_key: str = TEST_API_KEY, signing_secret: str = ""
) -> Iterator[RunningSandbox]:
    """Serve a sandbox from its own thread on a free port while the `with` block runs."""
    sandbox = Sandbox(settings or Settings(), api_key, signing_secret)
    has_started: Future[asyncio.AbstractEventLoop] = Future()
    server = create_server(sandbox, lambda: has_started.set_result(asyncio.get_running_loop()))
    with listen(0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            loop = has_started.result(timeout=10)
            yield RunningSandbox(f"http://{LOOPBACK}:{port}", api_key, signing_secret, sandbox, loop)
        finally:
            server.should_exit = True
            thread.join(timeout=10)
