"""A running sandbox: the backend on the real clock, with its API limits, stub responses and webhooks."""

import asyncio
import base64
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar

from codat_sandbox.backend import CodatBackend
from codat_sandbox.idempotency import IdempotencyKeys
from codat_sandbox.limits import Limits
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import Stubs
from codat_sandbox.webhooks import Webhooks

_Result = TypeVar("_Result")


def new_signing_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


class Sandbox:
    """The state of a running sandbox. It must be used from one event loop only.

    The server sets `close_connection`, which closes the connection of the client with the given (host, port).
    """

    def __init__(self, settings: Settings, api_key: str, signing_secret: str = "") -> None:
        self.api_key = api_key
        self.stubs = Stubs(self.now)
        self.calls: Counter[str] = Counter()
        self.close_connection: Callable[[tuple[str, int]], None] = lambda _client: None
        self.webhooks = Webhooks(lambda: self.backend.settings, self.now, signing_secret)
        self._changed = asyncio.Event()
        self._begin(settings)

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    @property
    def settings(self) -> Settings:
        return self.backend.settings

    @property
    def quota(self) -> int:
        """Return the number of requests allowed a day."""
        return self.limits.quota(self.settings, self.backend.active_companies)

    def do(self, change: Callable[[CodatBackend, datetime], _Result]) -> _Result:
        """Change the backend now, send the webhooks that the change causes, and return its result."""
        result = change(self.backend, self.now())
        self.changed()
        return result

    def reset(self, settings: Settings) -> None:
        """Start again with a new backend, and without webhook consumers, call counts and stub responses."""
        self.webhooks.clear()
        self.stubs.clear()
        self.calls.clear()
        self._begin(settings)
        self.changed()

    def changed(self) -> None:
        """Wake `run` after a change: it sends new events at once, and not at the next transition."""
        self._changed.set()

    async def run(self) -> None:
        """Advance the backend and send its events as webhooks, until cancelled."""
        while True:
            now = self.now()
            self.webhooks.send([*self.backend.advance(now), *self.limits.advance(self.quota, now)])
            next_times = [time for time in (self.backend.next_transition, self.limits.resets_at()) if time]
            seconds = (min(next_times) - self.now()).total_seconds()
            with suppress(TimeoutError):
                # Until Python 3.12, `asyncio.wait_for` ignores a cancellation at the moment of the change.
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            self._changed.clear()

    def _begin(self, settings: Settings) -> None:
        now = self.now()
        self.backend = CodatBackend(settings, now)
        self.limits = Limits(settings.seed, now)
        self.idempotency_keys = IdempotencyKeys()
