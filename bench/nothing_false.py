"""A week in which webhooks are lost, Codat is down, and companies hang: what is said, compared with the truth.

The deployed system runs in simulated time. Each event, each answer to a caller, and every hour the state of each feed
is compared with the datasets that Codat has at that moment.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import httpx

from bench.figures import Figure, Topic, show, without_logs
from codat_sandbox.model import Dataset, DatasetStatus, RequestedBy
from codat_sandbox.platforms import XERO, DataType
from codat_sandbox.settings import Settings
from freshness.app.ensure.accept import Ask, EnsureFresh
from freshness.app.ensure.problems import Problem
from freshness.codat.client import Codat
from freshness.domain.datasets.sync_history import SAME_END
from freshness.domain.feeds.freshness_request import FeedState
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
"""The tolerance of times: durations of syncs are kept to the millisecond."""
PROMISE = DAY
POLICY = Policy.model_validate({"default": {"fresh_within": "1 day"}})
SETTINGS = Settings(
    companies=0,
    sync_time_min=5 * SECOND,
    sync_time_max=4 * MINUTE,
    read_completed_within=SAME_END,
    fails_first=0.05,
    fails_later=0.02,
    not_supported=0,
    permissions_error=0,
    sync_schedule={},
    calls_per_minute=100_000,
)
LOST = (0.05, 1.0)
"""The shares of webhooks that are lost, a week for each."""
OUTAGE = 4 * HOUR
BURST = 10
"""How many callers ask for data of one company within a minute."""
CALLERS_WAIT = 10 * MINUTE
PREFERRED = 20 * SECOND
"""How long a caller waits for an answer, and then asks again."""
SETTLED = HOUR
"""How long nothing new happens at the end, so that datasets in flight end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """How many companies, callers and days there are, and how much fails."""

    companies: int = 50
    hanging: int = 5
    """Companies about which calls get no response, from the second day to the end of the outage."""
    callers: int = 100
    days: int = 7
    lost: float = 0.0


@dataclass(slots=True)
class Outcome:
    """The statements of the system, and which of them were false."""

    events: Counter[str] = field(default_factory=Counter)
    """The events, by type."""
    false_fresh: list[str] = field(default_factory=list)
    false_broken: list[str] = field(default_factory=list)
    """Promises called broken while they are kept, or kept again while they are broken."""
    ends: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The different results that were published for each end."""
    without_end: list[str] = field(default_factory=list)
    late: Counter[str] = field(default_factory=Counter)
    """How many promises broke before and after the outage, of companies that do not hang."""
    answered: int = 0
    refreshes: int = 0

    @property
    def differing_ends(self) -> list[str]:
        """Return the ends that were published with different results."""
        return [end for end, results in self.ends.items() if len(results) > 1]


class _World:
    """The companies, their callers, and what fails."""

    def __init__(self, loop: SimulatedLoop, week: Week) -> None:
        self.loop, self.week, self.random = loop, week, Random(23)
        self.simulation = Simulation(loop, SETTINGS, POLICY)
        self.simulation.on_published = self.published
        self.simulation.unanswered = self.hangs
        self.outcome = Outcome()
        self.hanging: set[str] = set()
        self.outage_ends_at = loop.clock() + week.days * DAY * 0.6
        self.outage_begins_at = self.outage_ends_at - OUTAGE

    def hangs(self, request: httpx.Request) -> bool:
        """Return whether a call is about a company that does not respond now."""
        company_id = (request.url.path + "//").split("/")[2]
        return company_id in self.hanging and DAY.total_seconds() <= self.loop.time() and not self.is_after_outage()

    def is_after_outage(self) -> bool:
        """Return whether the outage is over. Companies do not hang any more then."""
        return self.loop.clock() >= self.outage_ends_at

    async def run(self) -> Outcome:
        """Run the week, and return its outcome."""
        platform = replace(XERO, data_types=(DataType.BILLS, DataType.INVOICES))
        for _ in range(self.week.companies):
            self.simulation.backend.add_company((platform,), self.loop.clock())
            await asyncio.sleep((PROMISE / 2 / self.week.companies).total_seconds())
        companies = self.simulation.backend.companies()
        self.hanging = {company.id for company in companies[: self.week.hanging]}
        callers = [asyncio.create_task(self.call(number)) for number in range(self.week.callers)]
        outage = asyncio.create_task(self.fail())
        while self.loop.time() < (self.week.days * DAY).total_seconds():
            await self.simulation.run_for(
                HOUR, every=MINUTE, checks=10, random=self.random, lost=self.week.lost, skips_idle=True
            )
            self.compare_feeds()
        await asyncio.gather(*callers, outage)
        self.outcome.without_end = [*self.without_end()]
        self.outcome.refreshes = self.simulation.tallies["RefreshesQueued"]
        return self.outcome

    async def fail(self) -> None:
        """Let Codat be down for some hours."""
        await asyncio.sleep((self.outage_begins_at - self.loop.clock()).total_seconds())
        self.simulation.is_down = True
        await asyncio.sleep(OUTAGE.total_seconds())
        self.simulation.is_down = False

    async def call(self, number: int) -> None:
        """Let a caller ask for data as of now, and wait for it."""
        burst = Random(number // BURST)
        ends_at = self.week.days * DAY - SETTLED - CALLERS_WAIT
        begins_at = PROMISE + (ends_at - PROMISE) * burst.random()
        company_id = burst.choice(self.simulation.backend.companies()).id
        await asyncio.sleep(begins_at.total_seconds() - self.loop.time() + 60 * self.random.random())
        simulation = self.simulation
        services, now = simulation.services(Fuse()), simulation.clock()
        ensure = EnsureFresh(services=services)
        company = simulation.tables.companies.get(company_id)
        if company is None:
            return
        data_types = (DataType.BILLS, DataType.INVOICES)[number % 2 :]
        ask = Ask(data_types=data_types, not_before=now, deadline=now + CALLERS_WAIT)
        async with services.codat(now + CALLERS_WAIT, on_demand=True) as codat:

            async def client() -> Codat:
                return codat

            try:
                account = simulation.tables.control.account()
                progress = ensure.accept(company, account, ask, actor=replace(OPERATOR, who=f"caller {number}"))
                progress = await ensure.wait_until(progress, now + PREFERRED, client)
                while not progress.request.is_done:
                    await asyncio.sleep(PREFERRED.total_seconds())
                    known = ensure.load(company_id, progress.request.request_id)
                    progress = await ensure.advance(ensure.progress(known), client)
            except Problem:
                # The response says that no data can be read now.
                return
        for result in progress.request.results:
            feed = company_id, result.data_type, result.connection_id
            if result.state is FeedState.FRESH and result.as_of:
                self.require_copy(f"answer {number}", feed, max(result.as_of, now))
        self.outcome.answered += progress.request.is_fresh

    def published(self, detail_type: str, detail: dict[str, Any]) -> None:
        """Compare a published event with Codat's datasets."""
        now, event = self.loop.clock(), f"{detail_type} {detail['id']}"
        self.outcome.events[detail_type] += 1
        if detail_type == "Operation performed":
            return
        if detail_type in ("Freshness ensured", "Freshness not ensured"):
            self.outcome.ends[detail["id"]].add(f"{detail_type} {detail['dataTypes']}")
            for each in detail["dataTypes"]:
                if each["state"] == FeedState.FRESH:
                    as_of = max(each["asOf"], detail["notBefore"])
                    feed = detail["companyId"], each["dataType"], each["connectionId"]
                    self.require_copy(event, feed, datetime.fromisoformat(as_of))
            return
        feed = detail["companyId"], detail["dataType"], detail["connectionId"]
        kept = any(now < copy.completed + PROMISE for copy in self.copies(*feed) if copy.completed)
        match detail_type:
            case "Company data refreshed":
                self.require_copy(event, feed, datetime.fromisoformat(detail["asOf"]))
                end = detail["datasetId"] or detail["id"]
                self.outcome.ends[end].add(f"{detail['id']} {detail['asOf']} {detail['refreshedAt']}")
            case "Promise broken" if kept:
                self.outcome.false_broken.append(event)
            case "Promise kept again" if not kept:
                self.outcome.false_broken.append(event)
            case "Promise broken":
                self.count_late(detail)
            case _:
                pass

    def count_late(self, detail: dict[str, Any]) -> None:
        """Count a broken promise, unless it broke during the outage or its company hangs."""
        at = datetime.fromisoformat(detail["brokenAt"])
        if detail["companyId"] in self.hanging or self.outage_begins_at <= at <= self.outage_ends_at:
            return
        self.outcome.late["after the outage" if self.is_after_outage() else "before"] += 1

    def copies(self, company_id: str, data_type: str, connection_id: str) -> Iterator[Dataset]:
        """Yield the copies of a feed that Codat has had by now."""
        for dataset in self.simulation.backend.history(company_id, self.loop.clock()):
            is_of_feed = (dataset.data_type, dataset.connection_id) == (data_type, connection_id)
            if is_of_feed and dataset.status is DatasetStatus.COMPLETE:
                yield dataset

    def require_copy(self, said: str, feed: tuple[str, str, str], as_of: datetime) -> None:
        """Record a statement as false if Codat has no copy that was requested at a time or later."""
        if not any(copy.requested + MILLISECOND >= as_of for copy in self.copies(*feed)):
            self.outcome.false_fresh.append(said)

    def compare_feeds(self) -> None:
        """Compare what is known of each feed's copy with Codat's datasets."""
        for feed in self.simulation.feeds():
            ends = [copy.completed for copy in self.copies(*feed.key) if copy.completed]
            if feed.as_of:
                self.require_copy(f"feed {feed.key}", feed.key, feed.as_of.at)
            if feed.succeeded_at and (not ends or feed.succeeded_at > max(ends) + SAME_END):
                self.outcome.false_fresh.append(f"feed {feed.key}")

    def without_end(self) -> Iterable[str]:
        """Yield the datasets that this system requested and that have ended, but have no record."""
        now = self.loop.clock()
        for company in self.simulation.backend.companies():
            recorded = {each.dataset_id for each in self.simulation.tables.datasets.of_company(company.id)}
            for dataset in self.simulation.backend.history(company.id, now):
                is_ours = dataset.requested_by is RequestedBy.API
                has_ended = dataset.completed is not None and dataset.completed + SETTLED <= now
                if is_ours and has_ended and dataset.id not in recorded:
                    yield dataset.id


def simulate_week(week: Week) -> Outcome:
    """Simulate a week, and return its outcome."""
    with without_logs():
        return simulate(lambda loop: _World(loop, week).run())


def measure() -> list[Figure]:
    """Measure what the system says of the companies within a week, for each share of lost webhooks."""
    return figures({lost: simulate_week(Week(lost=lost)) for lost in LOST})


def figures(outcomes: dict[float, Outcome]) -> list[Figure]:
    """Return how many statements were false, in all weeks together and in each."""
    broken = ("Promise broken", "Promise kept again")
    copies = sum(outcome.events["Company data refreshed"] for outcome in outcomes.values())
    answers = sum(outcome.answered for outcome in outcomes.values())
    wrong = {
        f"copies called fresher than they are, of {copies:,} and {answers:,} answers": "false_fresh",
        f"promises falsely called broken or kept again, of {_events(outcomes, broken):,}": "false_broken",
        "ends published with different results": "differing_ends",
        f"datasets without an end, of {sum(each.refreshes for each in outcomes.values()):,}": "without_end",
    }
    return [
        Figure(
            what=what,
            topic=Topic.PROMISES,
            value=sum(len(getattr(outcome, name)) for outcome in outcomes.values()),
            unit="",
            against=", ".join(
                f"{lost:.0%} of webhooks lost: {len(getattr(each, name))}" for lost, each in outcomes.items()
            ),
            at_most=0,
        )
        for what, name in wrong.items()
    ]


def _events(outcomes: dict[float, Outcome], kinds: Iterable[str]) -> int:
    return sum(outcome.events[kind] for outcome in outcomes.values() for kind in kinds)


if __name__ == "__main__":
    show("Nothing false", measure())
