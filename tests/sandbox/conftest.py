import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from codat_sandbox.backend import CodatBackend
from codat_sandbox.model import Company, Event, ReadCompleted
from codat_sandbox.platforms import Platform
from codat_sandbox.pytest_plugin import QUICK as QUICK
from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings

NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def empty_backend(settings: Settings, **changes: object) -> CodatBackend:
    """Return a backend without companies and without Codat's own schedule, with changes of the settings."""
    return CodatBackend(settings.model_copy(update={"companies": 0, "sync_schedule": {}, **changes}), NOON)


def backend_with(settings: Settings, *platforms: Platform, **changes: object) -> tuple[CodatBackend, Company]:
    """Return such a backend with one company, which was created at noon, and the company."""
    backend = empty_backend(settings, **changes)
    return backend, backend.add_company(platforms, NOON)


def reads(events: list[Event]) -> list[ReadCompleted]:
    """Return the events that report reads, each in one of its forms."""
    return [each for each in events if isinstance(each, ReadCompleted) and each.event_type.endswith("read.completed")]


@pytest.fixture
def settings() -> Settings:
    """Return settings without failures, under which syncs take milliseconds."""
    return QUICK


@pytest.fixture
def sandbox(settings: Settings) -> Iterator[RunningSandbox]:
    with running_sandbox(settings) as running:
        yield running


@pytest.fixture
def codat(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    with client_of(sandbox) as client:
        yield client


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition was not met within {seconds} seconds"
        time.sleep(0.01)


@contextmanager
def client_of(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    auth = httpx.Headers({"Authorization": sandbox.authorization})
    with httpx.Client(base_url=sandbox.base_url, headers=auth, trust_env=False, timeout=60) as client:
        yield client


@dataclass(frozen=True)
class Received:
    headers: Mapping[str, str]
    body: str


@dataclass
class Receiver:
    """An endpoint that receives webhooks and responds with `status`."""

    port: int = 0
    status: int = 204
    received: queue.Queue[Received] = field(default_factory=queue.Queue)

    def next(self) -> Received:
        return self.received.get(timeout=120)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            receiver.received.put(Received(dict(self.headers.items()), body))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()
