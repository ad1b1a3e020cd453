"""The whole loop in simulated time: a modelled Codat, the tables, and the functions between them.

What runs is the code that runs in Lambda, from the ticks to the client; only DynamoDB, the network, the queue of
webhooks and the clock are in memory.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, cast

import httpx

from freshness.app.apply_webhook import Webhook
from freshness.app.check_freshness import Check
from freshness.app.queue_refreshes import Refresh
from freshness.aws.event_bus import Bus
from freshness.aws.store import Store, Tables
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.codat.rate_limiter import RateLimiter
from freshness.domain.dataset import Trigger
from freshness.domain.feed import Feed
from freshness.policy.policy import Policy
from local.codat_sandbox import responses
from local.codat_sandbox.app import create_app
from local.codat_sandbox.model import Dataset, RequestedBy
from local.codat_sandbox.platforms import DataType
from local.codat_sandbox.sandbox import Sandbox
from local.codat_sandbox.settings import Settings
from tests.simulated_time import SimulatedLoop
from tests.simulation.memory_dynamodb import MemoryDynamoDB

TABLES = Tables(companies="companies", feeds="feeds", datasets="datasets", control="control")
LEASE = timedelta(minutes=5)
"""How long a tick may run."""


class Crash(BaseException):
    """The function was killed between two of its calls."""


@dataclass
class Fuse:
    """Kills a function after so many calls, if at all; whatever it tries afterwards fails too."""

    calls_left: int | None = None

    def burn(self) -> None:
        if self.calls_left is None:
            return
        if self.calls_left <= 0:
            raise Crash
        self.calls_left -= 1


class ModelledSandbox(Sandbox):
    """The Codat sandbox on a simulated clock."""

    def __init__(self, settings: Settings, loop: SimulatedLoop) -> None:
        self._simulated_now = loop.clock
        super().__init__(settings, "key")

    def now(self) -> datetime:
        return self._simulated_now()


@dataclass
class _Events:
    """EventBridge, as far as it is used."""

    fuse: Fuse
    published: Counter[str]

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, int]:  # noqa: N803 - boto3's name
        self.fuse.burn()
        self.published.update(json.loads(entry["Detail"])["id"] for entry in Entries)
        return {"FailedEntryCount": 0}


@dataclass
class Simulation:
    """Everything at one moment. Webhooks wait in `pending` until they are delivered."""

    loop: SimulatedLoop
    settings: Settings
    policy: Policy
    skew: timedelta = timedelta(0)
    """How far our clock is ahead of Codat's."""
    is_down: bool = False
    unanswered: Callable[[httpx.Request], bool] = lambda _: False
    """Which requests get no response."""
    pending: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)
    queued_again: list[Feed] = field(default_factory=list)
    """Feeds of which a refresh was asked for while one of ours was in flight."""
    tallies: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.sandbox = ModelledSandbox(self.settings, self.loop)
        self.world = self.sandbox.backend
        self._app = httpx.ASGITransport(create_app(self.sandbox))
        self._dynamodb = MemoryDynamoDB()
        self.store = self._store(Fuse())
        self._ticks = 0
        self._rounds = 0

    def clock(self) -> datetime:
        """The time as our functions have it."""
        return self.loop.clock() + self.skew

    async def check(self, fuse: Fuse, *, listing: bool = True) -> None:
        """One tick of check_freshness."""

        async def run(store: Store, codat: Codat, until: datetime) -> None:
            check = Check(
                store=store, codat=codat, bus=self._bus(fuse), policy=self.policy, clock=self.clock, until=until
            )
            if listing:
                with suppress(CodatError):
                    await check.list_companies()
                    await check.read_sync_settings()
            await check.check_due()
            self.tallies.update(check.tally)

        await self._tick("check_freshness", fuse, run)

    async def queue(self, fuse: Fuse) -> None:
        """One tick of queue_refreshes."""

        async def run(store: Store, codat: Codat, until: datetime) -> None:
            refresh = Refresh(
                store=store, codat=codat, bus=self._bus(fuse), policy=self.policy, clock=self.clock, until=until
            )
            await refresh.queue_due()
            self.tallies.update(refresh.tally)

        await self._tick("queue_refreshes", fuse, run)

    async def _tick(self, name: str, fuse: Fuse, run: Callable[[Store, Codat, datetime], Awaitable[None]]) -> None:
        """Run a tick as `freshness.app.exclusive_run` does, unless another run holds the lease."""
        self._ticks += 1
        owner, store, now = f"run {self._ticks}", self._store(fuse), self.clock()
        if self.store.quota().no_call_before(now) or not self.store.acquire(name, owner, now + LEASE, now):
            return
        until = now + LEASE - timedelta(seconds=20)
        pace = RateLimiter(store, clock=self.clock, until=until, calls_per_minute=self.policy.budget.calls_per_minute)
        transport = httpx.MockTransport(lambda request: self._exchange(request, fuse))
        async with httpx.AsyncClient(base_url="http://codat", transport=transport) as http:
            try:
                await run(store, Codat(http, "key", clock=self.clock, pace=pace), until)
                await pace.finish()
                self.store.release(name, owner)
            except* (Crash, httpx.HTTPError):
                self.tallies["Crashes"] += 1

    async def _exchange(self, request: httpx.Request, fuse: Fuse) -> httpx.Response:
        fuse.burn()
        if self.is_down:
            await asyncio.sleep(1)
            raise httpx.ConnectError("Codat is down")
        if self.unanswered(request):
            await asyncio.sleep(10)
            raise httpx.ReadTimeout("no response")
        self._note(request)
        response = await self._app.handle_async_request(request)
        await response.aread()
        self.collect()
        fuse.burn()
        response.headers["Date"] = self.loop.clock().strftime("%a, %d %b %Y %H:%M:%S GMT")
        return response

    def _note(self, request: httpx.Request) -> None:
        _, _, company_id, *rest = (request.url.path + "/").split("/")
        operation = f"{request.method} {'/'.join(rest).strip('/')}"
        data_type = rest[-2] if len(rest) > 1 else ""
        self.calls[operation.removesuffix(data_type) if "/queue/" in operation else operation] += 1
        if request.method == "POST":
            connection_id = request.url.params.get("connectionId")
            self.queued_again += [
                feed for feed in self._feeds_of(company_id, data_type, connection_id) if _is_awaited(feed)
            ]

    def _feeds_of(self, company_id: str, data_type: str, connection_id: str | None) -> Iterator[Feed]:
        """The feeds that are asked for by a data type (`all` is any), and by a connection where one is named."""
        for _, feed in list(self._dynamodb.tables["feeds"].partitions.get(company_id, {})):
            of_type, _, of_connection = feed.partition("#")
            if data_type in (of_type, "all") and connection_id in (None, of_connection):
                yield self.store.feed(company_id, of_type, of_connection)

    def collect(self) -> None:
        """Take what Codat has to tell of what happened by now."""
        self.pending += [json.dumps(responses.webhook(event)) for event in self.world.advance(self.loop.clock())]

    def deliver(self, body: str, fuse: Fuse) -> bool:
        """Apply a webhook; whether it was applied, and need not come again."""
        webhook = Webhook(store=self._store(fuse), bus=self._bus(fuse), policy=self.policy, clock=self.clock)
        with suppress(Crash):
            webhook.apply(json.loads(body)["id"], body)
            self.tallies.update(webhook.tally)
            return True
        return False

    async def advance(self, duration: timedelta) -> None:
        """Let time pass at Codat and here."""
        await asyncio.sleep(duration.total_seconds())
        self.collect()

    async def run_for(
        self,
        duration: timedelta,
        *,
        every: timedelta,
        checks: int = 5,
        random: Random,
        lost: float = 0.0,
        doubled: float = 0.0,
    ) -> None:
        """Queue every so often, check every so many times, webhooks being delivered within seconds."""
        ends_at = self.loop.clock() + duration
        deliveries = asyncio.create_task(self._deliver_as_they_come(random, lost, doubled))
        while self.loop.clock() < ends_at:
            if self._rounds % checks == 0:
                await self.check(Fuse(), listing=self._rounds % 15 == 0)
            await self.queue(Fuse())
            self._rounds += 1
            await self.advance(every)
        deliveries.cancel()

    async def _deliver_as_they_come(self, random: Random, lost: float, doubled: float) -> None:
        while True:
            self.collect()
            bodies, self.pending = self.pending, []
            for body in bodies:
                if random.random() >= lost:
                    self.deliver(body, Fuse())
                    if random.random() < doubled:
                        self.deliver(body, Fuse())
            await asyncio.sleep(5)

    def refresh_by_others(self, company_id: str, data_type: DataType, connection_id: str) -> Dataset:
        """A person refreshes a data type in Codat's portal."""
        return self.world.queue(company_id, data_type, self.loop.clock(), connection_id, RequestedBy.PORTAL)

    def feeds(self) -> list[Feed]:
        """All feeds of the tables."""
        company_ids = sorted(self._dynamodb.tables["feeds"].partitions)
        return [feed for company_id in company_ids for feed in self.store.feeds(company_id)]

    @property
    def writes(self) -> int:
        """Writes to the tables so far."""
        return self._dynamodb.calls["PutItem"] + self._dynamodb.calls["DeleteItem"]

    def _store(self, fuse: Fuse) -> Store:
        return Store(cast(Any, self._dynamodb.sharing(fuse.burn)), TABLES)

    def _bus(self, fuse: Fuse) -> Bus:
        return Bus(cast(Any, _Events(fuse, self.published)), "bus")


def _is_awaited(feed: Feed) -> bool:
    """Whether a dataset that we asked for is in flight."""
    return feed.in_flight is not None and feed.in_flight.trigger is not Trigger.EXTERNAL
