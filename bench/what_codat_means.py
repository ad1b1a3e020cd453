"""A quarter of connections that lapse, are unlinked or are read once, compared with what is published of them.

The deployed system runs in simulated time. What it publishes, keeps and promises is compared with what happened at
Codat, which only the simulation knows: customers who are asked to relink although they need not, or are never asked.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from bench.figures import Figure, Topic, show, without_logs
from codat_sandbox import responses
from codat_sandbox.errors import DatasetAlreadyInProgressError
from codat_sandbox.model import Company, Connection, ConnectionStatus, DatasetStatus
from codat_sandbox.platforms import MYOB, QUICKBOOKS_DESKTOP, QUICKBOOKS_ONLINE, XERO, DataType, Platform
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.domain.feeds.feed import FeedKey
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Simulation

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
POLICY = Policy.model_validate(
    {
        "default": {"fresh_within": "3 days"},
        "rules": [{"name": "decide once", "platforms": [MYOB.name], "read_once": True}],
    }
)
SETTINGS = Settings(
    companies=0, fails_first=0, not_supported=0, permissions_error=0, sync_schedule={}, calls_per_minute=100_000
)
RELINKED_AFTER = 4 * DAY
"""How long after its lapse a connection is linked again. A lapse that Codat does not report is noticed before that."""
SETTLED = 2 * DAY
"""Nothing happens within this time before the end, so that all consequences are seen."""
UNAVOIDABLE = HOUR
"""A promise that breaks while reads are refused, or within this time afterwards, could not be kept."""
LISTS_A_TIME = 2
"""How many lists in a row lack companies or connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """How many days there are, and how many companies or lists each kind of trouble happens to."""

    days: int = 90
    unlinked: int = 20
    read_once: int = 20
    refused: int = 40
    lapsing: int = 20
    untouched: int = 10
    empty_lists: int = 5


@dataclass(slots=True)
class Outcome:
    """What was published, and what was wrong."""

    lapsed: int = 0
    relinked: int = 0
    published: Counter[str] = field(default_factory=Counter)
    """The events, by type."""
    asked_in_vain: list[str] = field(default_factory=list)
    not_asked: list[str] = field(default_factory=list)
    deleted: set[FeedKey] = field(default_factory=set)
    """Feeds that exist at Codat, but were deleted or lost their copy here."""
    broken_needlessly: list[str] = field(default_factory=list)
    refreshes: int = 0


class _World:
    """The companies, and what happens to them."""

    def __init__(self, loop: SimulatedLoop, quarter: Quarter) -> None:
        self.loop, self.quarter, self.random = loop, quarter, Random(22)
        self.simulation = Simulation(loop, SETTINGS, POLICY)
        self.simulation.on_published = self.published
        self.outcome = Outcome()
        self.lapses: Counter[str] = Counter()
        """The lapses of each connection that were not announced yet."""
        self.unreadable: defaultdict[str, list[tuple[datetime, datetime | None]]] = defaultdict(list)
        """The times in which each connection could not be read. An end of `None` is still open."""
        self.copies: dict[FeedKey, datetime | None] = {}

    def published(self, detail_type: str, detail: dict[str, Any]) -> None:
        """Compare an event with what happened at Codat."""
        self.outcome.published[detail_type] += 1
        connection_id = detail["connectionId"]
        if detail_type == "Relink needed":
            if not self.lapses[connection_id]:
                self.outcome.asked_in_vain.append(connection_id)
            self.lapses[connection_id] -= 1
        if detail_type == "Promise broken":
            at = datetime.fromisoformat(detail["brokenAt"])
            if not any(
                since <= at and (until is None or at <= until + UNAVOIDABLE)
                for since, until in self.unreadable[connection_id]
            ):
                self.outcome.broken_needlessly.append(detail["id"])

    async def run(self) -> Outcome:
        """Run the quarter, and return its outcome."""
        quarter = self.quarter
        happenings: list[tuple[int, Callable[[int], Awaitable[None]]]] = [
            (quarter.unlinked, self.unlink),
            (quarter.read_once, self.link_once),
            (quarter.refused, self.refuse_and_heal),
            (quarter.lapsing, self.lapse),
            (quarter.untouched, self.leave),
            (quarter.empty_lists, self.empty_lists),
        ]
        async with asyncio.TaskGroup() as tasks:
            for number, happen in happenings:
                for index in range(number):
                    tasks.create_task(_awaited(happen(index)))
            for _ in range(quarter.days):
                await self.simulation.run_for(
                    DAY, every=MINUTE, checks=60, random=self.random, deliver_within=MINUTE / 2, skips_idle=True
                )
                self.compare_copies()
        self.outcome.not_asked = [*self.lapses.elements()]
        self.outcome.refreshes = self.simulation.tallies["RefreshesQueued"]
        return self.outcome

    def compare_copies(self) -> None:
        """Compare the feeds with those of the day before, to find feeds that were deleted or lost their copy."""
        now = {feed.key: feed.succeeded_at for feed in self.simulation.feeds()}
        for key, copied_at in self.copies.items():
            if key not in now or (copied_at and now[key] is None):
                self.outcome.deleted.add(key)
        self.copies = now

    async def some_day(self) -> None:
        """Wait until a random time after the first two days, early enough to see all consequences."""
        earliest, latest = 2 * DAY, self.quarter.days * DAY - SETTLED - RELINKED_AFTER
        await self.until_time(earliest + (latest - earliest) * self.random.random())

    async def until_time(self, since_start: timedelta) -> None:
        """Wait until so long after the start of the simulation."""
        await asyncio.sleep(since_start.total_seconds() - self.loop.time())

    async def add(self, platform: Platform, *data_types: DataType) -> Company:
        """Add a company with one connection, with one or two data types, on the first day."""
        await self.until_time(DAY * self.random.random())
        return self.add_now(platform, *data_types)

    def add_now(self, platform: Platform, *data_types: DataType) -> Company:
        """Add a company with one connection, with one or two data types."""
        few = replace(platform, data_types=data_types or (DataType.BILLS, DataType.INVOICES))
        return self.simulation.backend.add_company((few,), self.loop.clock())

    def set_status(self, company: Company, status: ConnectionStatus) -> None:
        """Set the status of a company's connection."""
        connection = company.connections[0]
        self.simulation.backend.set_connection_status(company.id, connection.id, status, self.loop.clock())

    def refuse(self, company: Company) -> None:
        """Let Codat refuse all reads of a company, although its connection stays linked."""
        connection, now = company.connections[0], self.loop.clock()
        self.unreadable[connection.id].append((now, None))
        self.simulation.backend.change_connection(company.id, connection.id, now, refuses_reads=True)

    async def heal(self, company: Company) -> None:
        """Let the reads of a company succeed again, once none runs: a second refusal would be a lapse."""
        backend, connection = self.simulation.backend, company.connections[0]
        await self.until(lambda: not any(each.is_running for each in backend.history(company.id, self.loop.clock())))
        self.can_be_read(connection)
        backend.change_connection(company.id, connection.id, self.loop.clock(), refuses_reads=False)

    def can_be_read(self, connection: Connection) -> None:
        """Record that a connection can be read again."""
        since, _ = self.unreadable[connection.id].pop()
        self.unreadable[connection.id].append((since, self.loop.clock()))

    async def leave(self, index: int) -> None:
        """Add a company that nothing happens to."""
        await self.add((XERO, QUICKBOOKS_ONLINE, QUICKBOOKS_DESKTOP)[index % 3], DataType.INVOICES)

    async def unlink(self, index: int) -> None:
        """Let our own user unlink a connection, and link every second one again."""
        company = await self.add(XERO if index % 4 else QUICKBOOKS_DESKTOP, DataType.INVOICES)
        await self.some_day()
        self.set_status(company, ConnectionStatus.UNLINKED)
        if index % 2:
            await asyncio.sleep(RELINKED_AFTER.total_seconds())
            self.set_status(company, ConnectionStatus.LINKED)

    async def link_once(self, index: int) -> None:
        """Let a customer link for one read: as the policy says, or on an on-premise platform, where it is usual."""
        await self.some_day()
        company = self.add_now(MYOB if index % 2 else QUICKBOOKS_DESKTOP)
        self.simulation.backend.change_connection(
            company.id, company.connections[0].id, self.loop.clock(), one_time=True
        )

    async def refuse_and_heal(self, index: int) -> None:
        """Let one read be refused: one that a person requests, or for every second company one that is due."""
        company = await self.add(XERO if index % 4 else QUICKBOOKS_ONLINE)
        await self.some_day()
        self.refuse(company)
        since = self.loop.clock()
        while index % 2 == 0:
            try:
                connection_id = company.connections[0].id
                self.simulation.refresh_by_others(company.id, DataType.INVOICES, connection_id)
                break
            except DatasetAlreadyInProgressError:
                await asyncio.sleep(MINUTE.total_seconds())
        await self.until(lambda: self.is_refused(company, since))
        await self.heal(company)

    def is_refused(self, company: Company, since: datetime) -> bool:
        """Return whether a read of a company that was requested since a time was refused."""
        history = self.simulation.backend.history(company.id, self.loop.clock())
        return any(each.status is DatasetStatus.AUTH_ERROR and each.requested >= since for each in history)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, at most `RELINKED_AFTER`."""
        give_up_at = self.loop.clock() + RELINKED_AFTER
        while not condition() and self.loop.clock() < give_up_at:
            await asyncio.sleep(MINUTE.total_seconds())

    async def lapse(self, index: int) -> None:
        """Let a customer revoke access. Codat says so, or only refuses reads. Some days later the customer relinks."""
        company = await self.add(XERO if index % 4 else QUICKBOOKS_DESKTOP)
        connection = company.connections[0]
        await self.some_day()
        self.lapses[connection.id] += 1
        self.outcome.lapsed += 1
        if index % 2:
            self.refuse(company)
            await self.until(lambda: self.lapses[connection.id] == 0)
            await asyncio.sleep(HOUR.total_seconds())
            await self.heal(company)
        else:
            self.unreadable[connection.id].append((self.loop.clock(), None))
            self.set_status(company, ConnectionStatus.DEAUTHORIZED)
            await asyncio.sleep(RELINKED_AFTER.total_seconds())
            self.can_be_read(connection)
        self.set_status(company, ConnectionStatus.LINKED)
        self.outcome.relinked += 1

    async def empty_lists(self, index: int) -> None:
        """Let some lists in a row lack all companies, half of them, or the connections of all."""
        await self.some_day()
        listed = [
            responses.company(company, "https://link-api.codat.io") for company in self.simulation.backend.companies()
        ]
        lacking: list[list[Any]] = [
            [],
            listed[: len(listed) // 2],
            [each | {"dataConnections": []} for each in listed],
            [each | {"dataConnections": None} for each in listed],
            [{name: each[name] for name in each.keys() - {"dataConnections"}} for each in listed],
        ]
        results = lacking[index % len(lacking)]
        body = json.dumps(responses.page("/companies", results, 1, len(listed), {}))
        stub = StubResponse(path="/companies", status=200, body=body, times=LISTS_A_TIME)
        self.simulation.sandbox.stubs.add(stub)


async def _awaited(happening: Awaitable[None]) -> None:
    await happening


def simulate_quarter(quarter: Quarter) -> Outcome:
    """Simulate a quarter, and return its outcome."""
    with without_logs():
        return simulate(lambda loop: _World(loop, quarter).run())


def measure() -> list[Figure]:
    """Measure what is published of 110 companies within a quarter."""
    quarter = Quarter()
    return figures(quarter, simulate_quarter(quarter))


def figures(quarter: Quarter, outcome: Outcome) -> list[Figure]:
    """Return the figures of a quarter's outcome."""
    published = outcome.published
    of = f"{outcome.refreshes:,} refreshes in {quarter.days} days"
    counted = [
        ("Relink needed", outcome.lapsed, "connections that lapsed"),
        ("Connection back", outcome.relinked, "connections that lapsed and were linked again"),
        ("Connection done", quarter.read_once, "connections for one read"),
    ]
    wrong = [
        ("customers asked in vain to relink", outcome.asked_in_vain, f"{quarter.refused} reads that were refused once"),
        ("lapses that nobody was asked about", outcome.not_asked, f"{outcome.lapsed} lapses"),
        ("feeds that exist and were deleted", outcome.deleted, f"{quarter.empty_lists} lists that lacked them"),
        ("promises called broken that could be kept", outcome.broken_needlessly, of),
    ]
    return [
        *(
            Figure(
                what=f"`{name}`, published in a quarter",
                topic=Topic.PROMISES,
                value=published[name],
                unit="events",
                against=what,
                floor=n,
                at_most=1,
                at_least=1,
            )
            for name, n, what in counted
        ),
        *(
            Figure(what=what, topic=Topic.PROMISES, value=len(found), unit="", against=against, at_most=0)
            for what, found, against in wrong
        ),
    ]


if __name__ == "__main__":
    show("What Codat means", measure())
