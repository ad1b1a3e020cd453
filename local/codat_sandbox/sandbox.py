"""The sandbox as it runs: the world on the real clock, its limits, and its webhooks on their way."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from local.codat_sandbox.limits import Limits
from local.codat_sandbox.prescribed import PrescribedAnswers
from local.codat_sandbox.settings import Settings
from local.codat_sandbox.webhooks import Webhooks
from local.codat_sandbox.world import World


class Sandbox:
    """All that the server shares. Used from one event loop only.

    `close_connection` is called with the (host, port) of a client whose connection is to be closed at once.
    """

    def __init__(self, settings: Settings, api_key: str, signing_secret: str | None = None) -> None:
        self.api_key = api_key
        self.prescribed = PrescribedAnswers()
        self.calls: Counter[str] = Counter()
        self.close_connection: Callable[[tuple[str, int]], None] = lambda _client: None
        self.webhooks = Webhooks(lambda: self.world.settings, self.now, signing_secret)
        self._changed = asyncio.Event()
        self._begin(settings)

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        return self.world.settings

    @property
    def quota(self) -> int:
        """Requests a day."""
        return self.limits.quota(self.settings, self.world.active_companies)

    def reset(self, settings: Settings) -> None:
        """Start again with a new world: no consumers, no counts, no prescribed answers."""
        self.webhooks.forget_consumers()
        self.prescribed.clear()
        self.calls.clear()
        self._begin(settings)
        self.changed()

    def changed(self) -> None:
        """Something was asked of the world: what it has to tell is told now, not at its next transition."""
        self._changed.set()

    async def run(self) -> None:
        """Let the world go on and send its webhooks, until cancelled."""
        while True:
            now = self.now()
            self.webhooks.send([*self.world.advance(now), *self.limits.advance(self.quota, now)])
            next_times = [time for time in (self.world.next_transition, self.limits.resets_at()) if time]
            seconds = (min(next_times) - self.now()).total_seconds()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout=max(0.0, seconds))
            self._changed.clear()

    def _begin(self, settings: Settings) -> None:
        now = self.now()
        self.world = World(settings, now)
        self.limits = Limits(settings.seed, now)
