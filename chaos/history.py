"""Random histories of a fleet with faults, and what must hold of each."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from random import seed as seed_jitter

from chaos.faults import Faults, KillSwitch
from chaos.interleaving import InterleavingLoop
from chaos.simulation import ChaosSimulation
from codat_sandbox.errors import SandboxError
from codat_sandbox.model import ConnectionStatus, Dataset, DatasetStatus, RequestedBy, Truth
from codat_sandbox.platforms import MYOB, PLAID, QUICKBOOKS_DESKTOP, DataType
from codat_sandbox.settings import Settings
from freshness.domain.datasets.dataset import OUTCOMES, Outcome, has_ended
from freshness.domain.datasets.sync_history import LAST_KEPT, LONGEST_SYNC
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.policy.policy import Policy
from simulate.loop import TIMEOUT

FLEET = (
    (replace(MYOB, data_types=(DataType.INVOICES, DataType.BILLS, DataType.BALANCE_SHEET)),),
    (replace(PLAID, data_types=(DataType.BANKING_TRANSACTIONS,)),) * 2,
    (replace(QUICKBOOKS_DESKTOP, data_types=(DataType.INVOICES, DataType.BILLS)),),
)
FRESH_WITHIN = timedelta(hours=2)
POLICY = Policy.model_validate(
    {"default": {"fresh_within": "2 hours"}, "data_types": {"balanceSheet": {"fresh_within": "1 day"}}}
)
SYNC_TAKES = timedelta(minutes=2)
SETTINGS = Settings(
    companies=0,
    sync_time_min=timedelta(seconds=2),
    sync_time_max=SYNC_TAKES,
    fails_first=0.2,
    fails_later=0.2,
    not_supported=0.1,
    machine_offline=0,
    latency=timedelta(milliseconds=50),
    calls_per_minute=100_000,
)
TOLERANCE = timedelta(seconds=2)
"""How far Codat's times of one event may differ: a webhook is generated a moment after its sync has ended."""
SETTLED_EVERY = timedelta(minutes=20)
LOST_AND_FOUND = (ConnectionStatus.LINKED, ConnectionStatus.UNLINKED, ConnectionStatus.DEAUTHORIZED)
STEPS = 10
KINDS = {
    "check": 4,
    "queue": 5,
    "webhooks": 5,
    "command": 2,
    "others": 2,
    "outage": 1,
    "connection": 1,
    "machine": 1,
    "delete": 0.2,
}
"""What may happen in a step, and how likely each of them is."""


class Violation(AssertionError):
    """A history broke what must always hold."""


@dataclass
class History:
    """A simulation, and what happens to it at random."""

    simulation: ChaosSimulation
    random: Random
    steps: list[str] = field(default_factory=list)
    """What happened, in order, for a report."""
    was_killed: bool = False
    requested: dict[FeedKey, datetime] = field(default_factory=dict)
    """When an operator's request to refresh a feed was accepted."""
    paused: set[str] = field(default_factory=set)
    commanded: set[str] = field(default_factory=set)
    """The companies for which a command is carried out now."""

    async def step(self) -> None:
        """Let one to four things happen at the same time, and then time pass."""
        kinds = self.random.choices(list(KINDS), weights=list(KINDS.values()), k=self.random.randint(1, 4))
        self.steps.append(" + ".join(kinds))
        steps: list[Callable[[], Awaitable[None]]] = [getattr(self, f"_{kind}") for kind in kinds]
        await asyncio.gather(*(step() for step in steps))
        await self.simulation.advance(timedelta(seconds=self.random.choice([5, 20, 60, 300, 3600])))
        self.require_nothing_false()

    def _switch(self) -> KillSwitch:
        kills = self.random.random() < 0.3
        self.was_killed |= kills
        return KillSwitch(self.random.randint(0, 80) if kills else None)

    async def _check(self) -> None:
        await self.simulation.check(self._switch())

    async def _queue(self) -> None:
        await self.simulation.queue(self._switch())

    async def _webhooks(self) -> None:
        bodies, self.simulation.pending = self.simulation.pending, []
        fate = self.random.choice(["delivered", "lost", "doubled", "reordered"])
        if fate == "lost":
            return
        if fate == "doubled":
            bodies = bodies + bodies
        self.random.shuffle(bodies)
        applied = await asyncio.gather(*(self.simulation.deliver_webhook(body, self._switch()) for body in bodies))
        self.simulation.pending += [body for body, done in zip(bodies, applied, strict=True) if not done]

    async def _outage(self) -> None:
        self.simulation.is_down = self.random.random() < 0.3

    async def _others(self) -> None:
        truths = list(self.simulation.backend.truth(self.simulation.loop.clock()))
        if truths:
            truth = self.random.choice(truths)
            try:
                self.simulation.refresh_by_others(truth.company.id, truth.data_type, truth.connection.id)
            except SandboxError:
                return

    async def _connection(self) -> None:
        backend, now = self.simulation.backend, self.simulation.loop.clock()
        connections = [(company.id, c.id) for company in backend.companies() for c in company.connections]
        if connections:
            backend.set_connection_status(*self.random.choice(connections), self.random.choice(LOST_AND_FOUND), now)

    async def _machine(self) -> None:
        self._set_machines_online(self.random.random() < 0.5)

    def _set_machines_online(self, online: bool) -> None:
        backend, now = self.simulation.backend, self.simulation.loop.clock()
        for company in backend.companies():
            for connection in company.connections:
                if connection.platform.on_premise:
                    backend.change_connection(company.id, connection.id, now, machine_online=online)

    async def _delete(self) -> None:
        companies = self.simulation.backend.companies()
        if len(companies) > 1:
            self.simulation.backend.delete_company(self.random.choice(companies).id, self.simulation.loop.clock())

    async def _command(self) -> None:
        companies = sorted(self.simulation.tables.companies.scan(), key=lambda company: company.company_id)
        if not companies:
            return
        company, now = self.random.choice(companies), self.simulation.clock()
        if company.company_id in self.commanded:
            return
        self.commanded.add(company.company_id)
        command = self.random.choice(["pause", "resume", "resume", "refresh", "refresh"])
        if command == "resume":
            # It is not known whether a failed resume took effect.
            self.paused.discard(company.company_id)
        done = await self.simulation.operate(command, company, self._switch())
        self.commanded.discard(company.company_id)
        if done and command == "pause":
            self.paused.add(company.company_id)
        if done and command == "refresh":
            feeds = self.simulation.tables.feeds.of_company(company.company_id)
            self.requested |= {feed.key: now for feed in feeds if feed.refresh_requested_at}

    async def end_faults(self) -> None:
        """End every pause, and every fault except those that only a person can end."""
        simulation, now = self.simulation, self.simulation.loop.clock()
        self.require_pauses()
        simulation.dice.enabled = simulation.is_down = False
        self._set_machines_online(True)
        simulation.backend.change_settings(SETTINGS.model_copy(update={"fails_first": 0, "fails_later": 0}), now)
        for company in list(simulation.tables.companies.scan()):
            await simulation.operate("resume", company, KillSwitch())
        # A killed tick keeps its lease until its timeout.
        await simulation.advance(TIMEOUT + timedelta(seconds=1))

    async def settle(self) -> None:
        """Run ticks until everything that failed was tried again, with or without the webhooks that are pending."""
        simulation = self.simulation
        waiting = {_key(feed) for feed in simulation.feeds() if _waits(feed)}
        if self.random.random() < 0.5:
            simulation.pending.clear()
        for _ in range(2):
            bodies, simulation.pending = simulation.pending, []
            for body in bodies:
                await simulation.deliver_webhook(body, KillSwitch())
            await simulation.check(KillSwitch())
            waiting |= {_key(feed) for feed in simulation.feeds() if _has_failed(feed)}
            await simulation.queue(KillSwitch())
            await simulation.advance(SYNC_TAKES + timedelta(seconds=10))
        unkept = {_truth_key(truth) for truth in self.unkept()}
        self._require(not unkept - waiting, f"promises not kept within two ticks: {unkept - waiting}")
        for _ in range(24):
            await simulation.check(KillSwitch(), listing=False)
            await simulation.queue(KillSwitch())
            await simulation.advance(SETTLED_EVERY)
        settled_at = simulation.loop.clock()
        await simulation.queue(KillSwitch())
        await simulation.check(KillSwitch())
        unkept = {_truth_key(truth) for truth in self.unkept(late_by=SETTLED_EVERY + 2 * SYNC_TAKES)}
        self._require(not unkept, f"promises never kept again: {unkept}")
        self.require_nothing_false()
        self.require_everything_ended()
        self.require_requests()
        self.require_refreshes_published(settled_at)

    def unkept(self, late_by: timedelta = timedelta(0)) -> list[Truth]:
        """Return the feeds that can be fresh at Codat, but are older than promised by more than `late_by`."""
        now = self.simulation.loop.clock()
        return [
            truth
            for truth in self.simulation.backend.truth(now)
            if truth.can_become_fresh
            and not (
                truth.latest_successful
                and truth.latest_successful.completed
                and now - truth.latest_successful.completed <= fresh_within(truth.data_type) + late_by
            )
        ]

    def require_nothing_false(self) -> None:
        """Require that no feed is shown fresher than it is, and that no refresh was queued twice."""
        truths = {_truth_key(truth): truth for truth in self.simulation.backend.truth(self.simulation.loop.clock())}
        for feed in self.simulation.feeds():
            truth = truths.get(_key(feed))
            if truth and feed.succeeded_at:
                completed = truth.latest_successful.completed if truth.latest_successful else None
                is_true = completed is not None and feed.succeeded_at <= completed + TOLERANCE
                self._require(is_true, f"false freshness: {feed}")
        self._require(not self.simulation.queued_again, f"queued twice: {self.simulation.queued_again}")

    def require_everything_ended(self) -> None:
        """Require that no feed waits for a dataset that must have ended, and that every record has an end."""
        long_ago = self.simulation.clock() - 3 * LONGEST_SYNC
        in_flight = {feed.in_flight.dataset_id: feed for feed in self.simulation.feeds() if feed.in_flight}
        for feed in in_flight.values():
            self._require(not feed.in_flight or feed.in_flight.at > long_ago, f"still in flight: {feed}")
        for dataset in self.simulation.tables.datasets.scan():
            runs = dataset.dataset_id in in_flight
            self._require(runs or has_ended(dataset.state), f"recorded without an end: {dataset}")
            self._require(has_ended(dataset.state) == (dataset.ended_at is not None), f"ended in part: {dataset}")

    def require_pauses(self) -> None:
        """Require that every company that was paused is still paused."""
        companies = {company.company_id: company for company in self.simulation.tables.companies.scan()}
        for company_id in self.paused:
            self._require(companies[company_id].pause is not None, f"pause lost: {companies[company_id]}")

    def require_requests(self) -> None:
        """Require that every refresh that was requested was queued, where it can be."""
        truths = {_truth_key(truth): truth for truth in self.simulation.backend.truth(self.simulation.loop.clock())}
        feeds = {feed.key: feed for feed in self.simulation.feeds()}
        for key, at in self.requested.items():
            truth, feed = truths.get(key), feeds.get(key)
            if truth and feed and truth.can_become_fresh:
                latest = (truth.latest.completed or truth.latest.requested) if truth.latest else None
                self._require(
                    latest is not None and latest >= at - abs(self.simulation.skew) - TOLERANCE,
                    f"request of {at} lost: {feed}",
                )

    def require_refreshes_published(self, by: datetime) -> None:
        """Require that each refresh of ours that succeeded by a time was published.

        If its webhook was lost, it cannot be found any more once others have refreshed the same feed.
        """
        published = self.simulation.refreshes()
        kept = {feed.key: feed for feed in self.simulation.feeds()}
        for company in self.simulation.backend.companies():
            latest: dict[tuple[str, str], Dataset] = {}
            history = self.simulation.backend.history(company.id, self.simulation.loop.clock())
            for dataset in reversed(history):
                key = dataset.connection_id, dataset.data_type
                later = latest.setdefault(key, dataset)
                latest[key] = dataset
                feed = kept.get((company.id, str(dataset.data_type), dataset.connection_id))
                if feed is None or len(feed.history) >= LAST_KEPT or later.requested_by is not RequestedBy.API:
                    continue
                if dataset.requested_by is not RequestedBy.API or dataset.status is not DatasetStatus.COMPLETE:
                    continue
                if dataset.completed and dataset.completed <= by:
                    times = published[dataset.connection_id, str(dataset.data_type)]
                    near = [i for at, i in times if abs(at - dataset.completed) <= TOLERANCE or i == dataset.id]
                    self._require(bool(near), f"never published: {dataset}")

    def _require(self, holds: bool, message: str) -> None:
        if not holds:
            raise Violation(message + "\n" + "\n".join(self.steps))


async def run(loop: InterleavingLoop, seed: int, faults: Faults, skew: timedelta) -> History:
    """Run one history, and require what must hold.

    Raises:
        Violation: something does not hold.
    """
    random = Random(seed)
    loop.set_exception_handler(lambda *_: None)
    settings = SETTINGS.model_copy(update={"seed": seed})
    simulation = ChaosSimulation(loop, settings, POLICY, skew=skew, faults=faults, random=random)
    for platforms in random.sample(FLEET, k=random.randint(1, 2)):
        simulation.backend.add_company(platforms, loop.clock())
    history = History(simulation, random)
    for _ in range(random.randint(1, STEPS)):
        await history.step()
    await history.end_faults()
    await history.settle()
    return history


def simulate(seed: int, faults: Faults, skew: timedelta) -> History:
    """Run one history in simulated time. The same arguments give the same history."""
    # The jitter of the code that runs in Lambda comes from the module's own generator.
    seed_jitter(seed)
    loop = InterleavingLoop(Random(seed))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(run(loop, seed, faults, skew))


def fresh_within(data_type: str) -> timedelta:
    """Return the age that the policy of the histories promises for a data type."""
    return timedelta(days=1) if data_type == DataType.BALANCE_SHEET else FRESH_WITHIN


def _waits(feed: Feed) -> bool:
    """Return whether a feed waits for its dataset, or for a new try after a failed read."""
    return feed.in_flight is not None or _has_failed(feed)


def _has_failed(feed: Feed) -> bool:
    return feed.end is not None and OUTCOMES[feed.end.state] is not Outcome.COMPLETE


def _key(feed: Feed) -> FeedKey:
    return feed.key


def _truth_key(truth: Truth) -> FeedKey:
    return truth.company.id, str(truth.data_type), truth.connection.id
