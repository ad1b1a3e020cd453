"""The deployed system in simulated time, against the sandbox's model of Codat.

The ticks, the webhooks' processing and Codat's client are the code that runs in Lambda. DynamoDB, EventBridge, the
network, the queue of webhooks and the clock are in memory.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, cast

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from codat_sandbox import responses
from codat_sandbox.app import create_app
from codat_sandbox.model import Dataset, RequestedBy
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.settings import Settings
from estimate.memory_dynamodb import MemoryDynamoDB, tables_in_memory
from freshness.app.checking.check_freshness import check_freshness
from freshness.app.queue_refreshes import queue_refreshes
from freshness.app.record import Recorder
from freshness.app.services import CodatAccess, Services
from freshness.app.tick import LISTING, Run, run_tick
from freshness.app.webhooks import Message, apply_batch
from freshness.aws.dynamodb.table import ContentionError
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus, NotPublished
from freshness.aws.metrics import Metric
from freshness.codat.webhooks.parser import Malformed
from freshness.codat.webhooks.registration import event_types
from freshness.domain.audit import Actor
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.times import BEGINNING
from freshness.planning.in_flight import InFlight
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop

OPERATOR = Actor(who="arn:aws:iam::000000000000:user/operator", source="a simulation")
"""Who carries out operators' commands."""
TIMEOUT = timedelta(minutes=5, seconds=25)
"""The timeout of a scheduled function."""
APPLY_WITHIN = timedelta(seconds=25)
"""How long apply_webhook applies webhooks before it leaves the rest."""
OUTAGES = (NotPublished, ContentionError, BotoCoreError, ClientError)
"""The errors that a function fails with while AWS fails."""


def reliable(**others: Any) -> Settings:
    """Return settings of a Codat that has no companies yet, and whose reads succeed unless `others` says otherwise."""
    succeeding = {"fails_first": 0, "not_supported": 0, "permissions_error": 0, "sync_schedule": {}}
    return Settings.model_validate({"companies": 0, **succeeding, **others})


class Crash(BaseException):
    """A function was killed between two of its calls."""


@dataclass
class Fuse:
    """Kills a function after `calls_left` calls, or never if that is `None`. All calls after that fail as well."""

    calls_left: int | None = None

    def burn(self) -> None:
        """Count a call.

        Raises:
            Crash: no calls are left.
        """
        if self.calls_left is None:
            return
        if self.calls_left <= 0:
            raise Crash
        self.calls_left -= 1


class ModelledSandbox(Sandbox):
    """The Codat sandbox in simulated time."""

    def __init__(self, settings: Settings, loop: SimulatedLoop) -> None:
        self._simulated_now = loop.clock
        super().__init__(settings, "key")

    def now(self) -> datetime:
        """Return the simulated time."""
        return self._simulated_now()


@dataclass
class _Events:
    """A client for EventBridge that counts the ids of what is published, and shows each event."""

    fuse: Fuse
    published: Counter[str]
    show: Callable[[str, dict[str, Any]], None]

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, int]:  # noqa: N803 - boto3's name
        self.fuse.burn()
        for entry in Entries:
            detail = json.loads(entry["Detail"])
            self.published[detail["id"]] += 1
            self.show(entry["DetailType"], detail)
        return {"FailedEntryCount": 0}


@dataclass
class Simulation:
    """The whole system with its tables, and the modelled Codat. Webhooks are in `pending` until they are delivered."""

    loop: SimulatedLoop
    settings: Settings
    policy: Policy
    skew: timedelta = timedelta(0)
    """How far the functions' clock is ahead of Codat's."""
    start_paused: bool = False
    """Whether a stack that has never run is paused."""
    is_down: bool = False
    """Whether connections to Codat fail."""
    unanswered: Callable[[httpx.Request], bool] = lambda _: False
    """Which requests get no response."""
    is_lost: Callable[[httpx.Request], bool] = lambda _: False
    """Which requests take effect, but get no response."""
    on_published: Callable[[str, dict[str, Any]], None] = lambda *_: None
    """What is called with the type and the detail of each event when it is published."""
    pending: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    """The calls to Codat, by method and path within the company."""
    published: Counter[str] = field(default_factory=Counter)
    """The notifications published, by id."""
    queued_again: list[Feed] = field(default_factory=list)
    """Feeds for which a refresh was queued while one of ours was in flight."""
    tallies: Counter[str] = field(default_factory=Counter)
    """The metrics of all functions, and the numbers of `Crashes`, `Failures` and `DeadLetters`."""
    measured: Mapping[Metric, int] = field(default_factory=dict)
    """What the last tick of queue_refreshes measured about the feeds that were due."""

    def __post_init__(self) -> None:
        self.sandbox = ModelledSandbox(self.settings, self.loop)
        self.backend = self.sandbox.backend
        self._app = httpx.ASGITransport(create_app(self.sandbox))
        self._dynamodb = MemoryDynamoDB()
        self.tables = self._tables(Fuse())
        self.in_flight = InFlight()
        """What the process of queue_refreshes remembers from run to run."""
        self.event_types = set(event_types(self.policy.products))
        """The event types that the stack subscribes to."""
        self._collected = asyncio.Event()
        self._runs = 0
        self._rounds = 0

    def clock(self) -> datetime:
        """Return the time by the functions' clock."""
        return self.loop.clock() + self.skew

    def services(self, fuse: Fuse) -> Services:
        """Return the services of one invocation. `fuse` counts calls of AWS and Codat, and kills the invocation."""
        return Services(
            waiting_callers=2,
            start_paused=self.start_paused,
            tables=self._tables(fuse),
            bus=self._bus(fuse),
            policy=self.policy,
            clock=self.clock,
            codat_access=CodatAccess(
                base_url="http://codat",
                key=lambda reload: "key",  # noqa: ARG005 - the key is never replaced
                transport=httpx.MockTransport(lambda request: self._exchange(request, fuse)),
            ),
            emit=self._emit,
            in_flight=self.in_flight,
        )

    def _emit(self, measured: Mapping[Metric, int]) -> None:
        self.tallies.update(measured)
        if Metric.FEEDS_LEFT_OVER in measured:
            self.measured = measured

    async def check(self, fuse: Fuse, *, listing: bool | None = True) -> None:
        """Run one tick of check_freshness. `listing` is whether to list companies; `None` leaves that to the tick."""
        if listing is not None:
            self.tables.control.put_done(LISTING, BEGINNING if listing else self.clock())
        await self._tick(fuse, check_freshness)

    async def queue(self, fuse: Fuse) -> None:
        """Run one tick of queue_refreshes."""
        await self._tick(fuse, queue_refreshes)

    async def _tick(self, fuse: Fuse, run: Callable[[Services, Run], Awaitable[None]]) -> None:
        """Run a tick as its handler does. A run that crashes keeps its lease."""
        self._runs += 1
        services = self.services(fuse)
        try:
            try:
                await run_tick(services, run, f"run {self._runs}", TIMEOUT)
            except* OUTAGES:
                self.tallies["Failures"] += 1
        except* Crash:
            self.tallies["Crashes"] += 1

    async def _exchange(self, request: httpx.Request, fuse: Fuse) -> httpx.Response:
        fuse.burn()
        if self.is_down:
            await asyncio.sleep(1)
            raise httpx.ConnectError("Codat is down")
        if self.unanswered(request):
            await asyncio.sleep(10)
            raise httpx.ReadTimeout("no response")
        self._count(request)
        response = await self._app.handle_async_request(request)
        await response.aread()
        self.collect()
        fuse.burn()
        if self.is_lost(request):
            await asyncio.sleep(1)
            raise httpx.ReadError("the response was lost")
        response.headers["Date"] = self.loop.clock().strftime("%a, %d %b %Y %H:%M:%S GMT")
        return response

    def _count(self, request: httpx.Request) -> None:
        _, _, company_id, *rest = (request.url.path + "/").split("/")
        operation = f"{request.method} {'/'.join(rest).strip('/')}"
        data_type = rest[-2] if len(rest) > 1 else ""
        self.calls[operation.removesuffix(data_type) if "/queue/" in operation else operation] += 1
        if request.method == "POST":
            connection_id = request.url.params.get("connectionId")
            self.queued_again += [
                feed for feed in self._feeds_to_queue(company_id, data_type, connection_id) if _has_ours_in_flight(feed)
            ]

    def _feeds_to_queue(self, company_id: str, data_type: str, connection_id: str | None) -> Iterator[Feed]:
        """Yield the feeds that a call queues: of a data type, or `all`; of a connection, or any if it is `None`."""
        for feed in self.tables.feeds.of_company(company_id):
            if data_type in (feed.data_type, "all") and connection_id in (None, feed.connection_id):
                yield feed

    def collect(self) -> None:
        """Collect the webhooks of all that has happened at Codat by now."""
        self.pending += [
            json.dumps(responses.webhook(event, self.backend.settings.links))
            for event in self.backend.advance(self.loop.clock())
            if event.event_type in self.event_types
        ]
        self._collected.set()

    def deliver(self, body: str, fuse: Fuse) -> bool:
        """Apply a webhook, and return whether that was completed. If not, it must be delivered again."""
        message = Message(id="message", webhook_id="webhook", body=body, received_at=None, deliveries=1)
        with suppress(Crash):
            return not apply_batch(
                self.services(fuse),
                [message],
                until=self.clock() + APPLY_WITHIN,
                most_deliveries=1,
                move_to_dead_letters=self._move_to_dead_letters,
            )
        return False

    def deliver_all(self) -> bool:
        """Apply all webhooks that are pending, and return whether each was completed."""
        bodies, self.pending = self.pending, []
        completed = [self.deliver(body, Fuse()) for body in bodies]
        return all(completed)

    def _move_to_dead_letters(self, _message: Message, error: Exception) -> bool:
        """Return whether a webhook is malformed; false if it failed because AWS did, so that it is delivered again.

        Raise any other error: it is a mistake of ours.
        """
        if isinstance(error, OUTAGES):
            return False
        if isinstance(error, Malformed):
            self.tallies["DeadLetters"] += 1
            return True
        raise error

    async def advance(self, duration: timedelta) -> None:
        """Let time pass, and collect the webhooks."""
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
        deliver_within: timedelta = timedelta(seconds=5),
        skips_idle: bool = False,
    ) -> None:
        """Run both ticks for a time, and deliver webhooks.

        queue_refreshes runs at the interval `every`, and check_freshness before each `checks`-th of these runs. `lost`
        and `doubled` are the probabilities that a webhook is never delivered, or is delivered twice. With `skips_idle`,
        queue_refreshes runs only after check_freshness and when a feed is due, which saves processor time.
        """
        ends_at = self.loop.clock() + duration
        deliveries = asyncio.create_task(self._keep_delivering(random, lost, doubled, deliver_within))
        while self.loop.clock() < ends_at:
            is_check = self._rounds % checks == 0
            if is_check:
                await self.check(Fuse(), listing=None)
            if is_check or not skips_idle or next(self.tables.feeds.due(self.clock(), 1), None):
                await self.queue(Fuse())
            self._rounds += 1
            await self.advance(every)
        if deliveries.done():
            # It ends by itself only if an unexpected error kept a webhook from being applied.
            deliveries.result()
        deliveries.cancel()

    async def _keep_delivering(self, random: Random, lost: float, doubled: float, within: timedelta) -> None:
        """Deliver the webhooks at each interval of `within`. An interval in which there can be none is skipped."""
        started, every = self.loop.time(), within.total_seconds()
        while True:
            self.collect()
            bodies, self.pending = self.pending, []
            for body in bodies:
                if random.random() >= lost:
                    self.deliver(body, Fuse())
                    if random.random() < doubled:
                        self.deliver(body, Fuse())
            await self._news()
            await asyncio.sleep(every - (self.loop.time() - started) % every)

    async def _news(self) -> None:
        """Wait until a webhook is pending, or something happens at Codat."""
        while not self.pending:
            self._collected.clear()
            due = self.backend.next_transition
            if due:
                timer = self.loop.call_later((due - self.loop.clock()).total_seconds(), self._collected.set)
            await self._collected.wait()
            if due:
                timer.cancel()
                if due <= self.loop.clock():
                    return

    def refresh_by_others(self, company_id: str, data_type: str, connection_id: str) -> Dataset:
        """Refresh a data type as a person does in Codat's portal."""
        return self.backend.queue(company_id, data_type, self.loop.clock(), connection_id, RequestedBy.PORTAL)

    def recorder(self) -> Recorder:
        """Return a recorder that is never killed."""
        return self.services(Fuse()).recorder

    def feeds(self) -> list[Feed]:
        """Return all feeds."""
        return list(self.tables.feeds.scan())

    @property
    def writes(self) -> int:
        """Return the number of writes to the tables so far."""
        return self._dynamodb.writes.total()

    def _tables(self, fuse: Fuse) -> Tables:
        # Nothing else runs during a pause: functions for the executor are called immediately.
        return tables_in_memory(self._dynamodb.sharing(fuse.burn))

    def _bus(self, fuse: Fuse) -> EventBus:
        return EventBus(cast(Any, _Events(fuse, self.published, self.on_published)), "bus")


def _has_ours_in_flight(feed: Feed) -> bool:
    """Return whether a dataset that this system requested is in flight."""
    return feed.in_flight is not None and feed.in_flight.trigger is not Trigger.EXTERNAL
