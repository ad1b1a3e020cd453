"""Ensuring that data is as fresh as a caller needs: accepting requests, pursuing them, and ending them.

A request is an item of its own, and what it needs is recorded on the feeds, for all callers together. A tick therefore
finds and finishes what a crash left behind: `EnsureFresh.sweep` records again what a feed lacks, and ends requests.
"""

import asyncio
import hashlib
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self
from uuid import uuid4

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.exclusive_run import stops
from freshness.app.problems import Problem
from freshness.app.queueing import Queueing
from freshness.app.record import Recorder
from freshness.aws.event_bus import NotPublished
from freshness.aws.item_codec import SHARDS
from freshness.aws.metrics import Metric
from freshness.aws.table import ContentionError, VersionConflict
from freshness.aws.tables import Tables
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError, RateLimited
from freshness.codat.status_poller import of_operation
from freshness.domain.company import Company
from freshness.domain.dataset import has_ended
from freshness.domain.facts import DataWanted
from freshness.domain.feed import Feed
from freshness.domain.freshness_request import (
    KEPT,
    FeedState,
    Forecast,
    FreshnessRequest,
    OnLate,
    forecast,
)
from freshness.domain.notifications import request_ended
from freshness.planning.allowance import allowance, on_demand_allowance, renewed_at
from freshness.planning.planner import Action, Decision, decide

LONGEST_ANSWER = timedelta(seconds=30)
"""How long the call that makes a request may take, as the HTTP API allows."""
BETWEEN_READS = 0.3
"""Seconds between two reads of the tables while a caller waits."""
POLL_EVERY = timedelta(seconds=1)
"""The shortest time between two polls of a dataset that callers wait for; longer for a longer sync."""
POLL_SHARE = 0.1
"""The time between two polls, as a share of the time that a dataset has run."""
FIRST_POLL = 0.8
"""When to poll first, as a share of the shortest sync that was measured."""

logger = Logger(service="codat-freshness")


class RelinkNeeded(Problem):
    """A customer must authorise connections again, which are given with their platforms by their ids."""

    def __init__(self, platforms: Mapping[str, str]) -> None:
        names = ", ".join(sorted(set(platforms.values())))
        super().__init__(409, "relink-needed", f"The customer must authorise {names} again before it can be read.")
        self._connection_ids = tuple(platforms)

    def with_links(self, links: Mapping[str, str]) -> Self:
        """Return the problem with those of the links by which the customer does that."""
        self.extra["linkUrls"] = {each: links.get(each, "") for each in self._connection_ids}
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asks for, with absolute times."""

    data_types: tuple[str, ...]
    not_before: datetime
    deadline: datetime
    on_late: OnLate = OnLate.STALE
    at_any_time: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A request, with the feeds and the company as they are now, and when it is expected to be satisfied."""

    request: FreshnessRequest
    company: Company
    feeds: tuple[Feed, ...]
    forecast: Forecast | None = None
    """`None` once the request is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureFresh:
    """Accepts, pursues and ends requests for fresh data. Errors that a caller must see are raised as `Problem`."""

    recorder: Recorder
    clock: Callable[[], datetime]
    dry_run: bool = False
    """Whether nothing is queued."""
    tally: Counter[Metric] = field(default_factory=Counter)
    """What happened."""

    @property
    def tables(self) -> Tables:
        """Return the tables."""
        return self.recorder.tables

    def company(self, company_id: str) -> Company:
        """Return a company.

        Raises:
            Problem: there is no such company.
        """
        company = self.tables.companies.get(company_id)
        if company is None or company.deleted_at:
            raise Problem(404, "unknown-company", f"There is no company {company_id!r}.")
        return company

    def types_of_set(self, name: str, company: Company) -> tuple[str, ...]:
        """Return the data types of a set of the policy that applies to a company.

        Raises:
            Problem: there is no such set.
        """
        for each in self.recorder.policy.sets:
            if each.name == name and each.matches_company(company):
                return each.data_types
        raise Problem(422, "unknown-set", f"The policy has no set {name!r} for this company.")

    def accept(self, company: Company, ask: Ask, *, caller: str, key: str, fingerprint: str) -> Progress:
        """Return the progress of a new request, or of the one that was made with the same key.

        A request that is satisfied at once is stored only if it has a key.

        Raises:
            Problem: the request is refused.
        """
        now = self.clock()
        request = FreshnessRequest(
            request_id=request_id(caller, company.company_id, key) if key else uuid4().hex,
            company_id=company.company_id,
            data_types=tuple(dict.fromkeys(ask.data_types)),
            not_before=ask.not_before,
            deadline=ask.deadline,
            accepted_at=now,
            on_late=ask.on_late,
            at_any_time=ask.at_any_time,
            fingerprint=fingerprint if key else "",
            answering_until=now + LONGEST_ANSWER if key else None,
        )
        if key and (known := self.tables.control.freshness_request(request.request_id)):
            return self._again(known, company, fingerprint)
        feeds = self.tables.feeds.of_company(company.company_id)
        self._require_supported(request, feeds, company)
        ended = request.with_results(feeds, company, now)
        if not ended.is_fresh:
            self._require_possible(request, feeds, company)
        if ended.is_fresh and not key:
            return Progress(request=ended, company=company, feeds=tuple(request.feeds_of(feeds, company)))
        try:
            stored = self.tables.control.put_freshness_request(request)
        except VersionConflict:
            known = self.tables.control.freshness_request(request.request_id) or request
            return self._again(known, company, fingerprint)
        return self.progress(stored, company, feeds)

    def answered(self, request: FreshnessRequest) -> None:
        """Record that the call that made a request was answered, so that its key may be used again."""
        if request.answering_until:
            self.tables.control.update_freshness_request(request, lambda known: replace(known, answering_until=None))

    def load(self, request_id: str) -> FreshnessRequest:
        """Return a request.

        Raises:
            Problem: there is no such request, or it is no longer kept.
        """
        request = self.tables.control.freshness_request(request_id)
        if request is None or request.accepted_at + KEPT <= self.clock():
            raise Problem(404, "unknown-request", f"There is no request {request_id!r}, or it is older than 7 days.")
        return request

    def progress(
        self, request: FreshnessRequest, company: Company | None = None, feeds: Iterable[Feed] | None = None
    ) -> Progress:
        """Return a request as it is now, ended and published if its results are final."""
        company = company or self.tables.companies.get(request.company_id) or Company(company_id=request.company_id)
        known = list(self.tables.feeds.of_company(request.company_id) if feeds is None else feeds)
        request = self._ended(request, company, known)
        mine = request.feeds_of(known, company)
        ahead = None if request.is_done else self._forecast(request, mine, company)
        return Progress(request=request, company=company, feeds=tuple(mine), forecast=ahead)

    async def pursue(self, progress: Progress, codat: Callable[[], Awaitable[Codat]]) -> Progress:
        """Record what the feeds of a request lack, queue those that may be queued, and poll those in flight.

        `codat` opens a client when the first call is made.
        """
        if progress.request.is_done:
            return progress
        feeds = await asyncio.to_thread(self._want, progress.request, progress.company, progress.feeds)
        decisions = [] if self.dry_run else await asyncio.to_thread(self._decide, feeds, progress.company)
        if decisions:
            await self._queue(decisions, await codat())
        await asyncio.gather(*(self._poll(feed, progress, codat) for feed in feeds))
        return await asyncio.to_thread(self.progress, progress.request)

    async def wait(self, progress: Progress, until: datetime, codat: Callable[[], Awaitable[Codat]]) -> Progress:
        """Pursue a request until it is done, or until a time."""
        while True:
            try:
                progress = await self.pursue(progress, codat)
            except ContentionError as error:
                # Another caller's turn does it, or a later one of this caller.
                logger.info("Others changed the same items", extra={"error": str(error)})
            if progress.request.is_done or self.clock() >= until:
                return progress
            await asyncio.sleep(BETWEEN_READS)

    def sweep(self, shards: Iterable[str] = SHARDS) -> int:
        """End the open requests whose results are final, and record what the feeds of the others lack.

        Only the requests of some shards are read. Return how many of them are still open.
        """
        still_open = 0
        for request in list(self.tables.control.open_freshness_requests(self.clock() + KEPT, shards)):
            try:
                progress = self.progress(request)
                if not progress.request.is_done:
                    still_open += 1
                    self._want(request, progress.company, progress.feeds)
            except (ContentionError, NotPublished, BotoCoreError, ClientError) as error:
                context = {"request_id": request.request_id, "error": str(error)}
                logger.warning("A request for fresh data was left to the next tick", extra=context)
        return still_open

    def _again(self, known: FreshnessRequest, company: Company, fingerprint: str) -> Progress:
        """Return the progress of a request whose key is used again."""
        if known.fingerprint != fingerprint:
            raise Problem(422, "key-reused", "The Idempotency-Key was used before, with another body.")
        if known.answering_until and known.answering_until > self.clock() and not known.is_done:
            raise Problem(
                409, "key-in-progress", "A request with this Idempotency-Key is being answered.", retry_after=1
            )
        return self.progress(known, company)

    def _require_supported(self, request: FreshnessRequest, feeds: list[Feed], company: Company) -> None:
        mine = request.feeds_of(feeds, company)
        unsupported = {feed.data_type for feed in mine if feed.is_unsupported}
        unknown = set(request.data_types) - {feed.data_type for feed in mine}
        if not unsupported | unknown:
            return
        known = sorted({feed.data_type for feed in feeds if not feed.is_unsupported})
        raise Problem(
            422,
            "unsupported-data-type",
            f"The company has no {', '.join(sorted(unsupported | unknown))}. It has {', '.join(known) or 'none yet'}.",
        )

    def _require_possible(self, request: FreshnessRequest, feeds: list[Feed], company: Company) -> None:
        mine = [feed for feed in request.feeds_of(feeds, company) if not feed.is_as_of(request.not_before)]
        blocked = {
            feed.connection_id: company.connections[feed.connection_id]
            for feed in mine
            if feed.is_blocked(company.connections[feed.connection_id])
        }
        if blocked:
            raise RelinkNeeded({connection_id: each.platform for connection_id, each in sorted(blocked.items())})
        off = sorted(feed.data_type for feed in mine if self._promise_is_off(feed, company))
        if off:
            raise Problem(422, "off", f"The policy turns off {', '.join(off)}.")
        if company.paused or self.tables.control.is_paused():
            raise Problem(409, "paused", "An operator paused the company's refreshes, or all of them.")
        to_queue = [feed for feed in mine if not request.is_served(feed)]
        if to_queue:
            self._require_calls(len(to_queue))
        if request.on_late is OnLate.FAIL and mine:
            ahead = self._forecast(request, mine, company)
            if ahead.obstacle:
                raise Problem(
                    422,
                    "deadline-impossible",
                    f"The deadline cannot be met: {ahead.obstacle}.",
                    extra={"expectedAt": ahead.expected_at},
                )

    def _promise_is_off(self, feed: Feed, company: Company) -> bool:
        return self.recorder.policy.promise(feed.data_type, company, company.connections[feed.connection_id]).off

    def _require_calls(self, wanted: int) -> None:
        """Raise a `Problem` if Codat accepts no calls now, or if the share for callers is spent."""
        now, limits = self.clock(), self.tables.control.api_limits()
        if until := limits.stopped_before(now):
            raise _codat_unavailable("Codat accepts no calls, because a limit is reached", until, now)
        left = on_demand_allowance(self.recorder.policy.budget, limits, now)
        if wanted > left:
            raise Problem(
                429,
                "share-spent",
                "The share of Codat's daily quota that is reserved for such requests is spent.",
                retry_after=_seconds(renewed_at(now) - now),
                extra={"remaining": left},
            )

    def _forecast(self, request: FreshnessRequest, feeds: Iterable[Feed], company: Company) -> Forecast:
        """Return when all of the feeds are expected, and how probable it is that the least probable is in time."""
        now, policy = self.clock(), self.recorder.policy
        each = [
            forecast(
                request, feed, policy.promise(feed.data_type, company, company.connections[feed.connection_id]), now
            )
            for feed in feeds
            if not feed.is_as_of(request.not_before)
        ]
        return Forecast(
            expected_at=max((ahead.expected_at for ahead in each), default=now),
            probability=min((ahead.probability for ahead in each), default=1.0),
            obstacle=next((ahead.obstacle for ahead in each if ahead.obstacle), ""),
        )

    def _ended(self, request: FreshnessRequest, company: Company, feeds: list[Feed]) -> FreshnessRequest:
        """Return the request, published and stored as ended if its results are final."""
        if request.is_done or not request.with_results(feeds, company, self.clock()).is_done:
            return request

        def end(known: FreshnessRequest) -> FreshnessRequest:
            ended = known.with_results(feeds, company, self.clock())
            if ended != known:
                self.recorder.bus.publish([request_ended(ended)])
            return ended

        return self.tables.control.update_freshness_request(request, end)

    def _want(self, request: FreshnessRequest, company: Company, feeds: Iterable[Feed]) -> list[Feed]:
        """Record what the feeds lack, unless a read in flight has it, and return them as they are now.

        Where many callers write the same feed at the same moment, a later turn records it.
        """
        fact = DataWanted(not_before=request.not_before, deadline=request.deadline, at_any_time=request.at_any_time)
        now = []
        for feed in feeds:
            if request.is_served(feed) or feed.is_unsupported:
                now.append(feed)
                continue
            with suppress(ContentionError):
                now.append(self.recorder.feed(feed, company, fact).feed)
        return now

    def _decide(self, feeds: list[Feed], company: Company) -> list[Decision]:
        """Return the decisions to queue those of the feeds that callers wait for and that may be queued now."""
        wanted = {feed.key: feed for feed in feeds if feed.wanted and not feed.in_flight}
        if not wanted:
            return []
        control, policy, now = self.tables.control, self.recorder.policy, self.clock()
        others = self.tables.feeds.of_company(company.company_id)
        limits = control.api_limits()
        if limits.stopped_before(now):
            return []
        decisions = decide(
            [*wanted.values(), *(feed for feed in others if feed.key not in wanted)],
            {company.company_id: company},
            policy,
            now,
            paused=control.is_paused(),
            allowance=allowance(policy.budget, limits, now),
            on_demand_allowance=on_demand_allowance(policy.budget, limits, now),
        )
        return [each for each in decisions if each.action is Action.QUEUE and each.feed.key in wanted]

    async def _queue(self, decisions: list[Decision], codat: Codat) -> None:
        """Queue feeds at the same time.

        Raises:
            Problem: Codat accepts none of the calls.
        """
        queueing = Queueing(tables=self.tables, codat=codat, recorder=self.recorder, clock=self.clock, tally=self.tally)
        await asyncio.gather(*(queueing.queue(decision) for decision in decisions))
        self.tally.update(stops(queueing.stopped_by))
        now = self.clock()
        stop = next((error.until for error in queueing.stopped_by if isinstance(error, RateLimited)), None)
        if stop:
            raise _codat_unavailable("Codat accepts no calls, because a limit is reached", stop, now)
        if queueing.stopped_by:
            raise _codat_unavailable("Codat refuses this account's calls", now + timedelta(minutes=5), now)
        feeds = [await asyncio.to_thread(self.tables.feeds.get, *decision.feed.key) for decision in decisions]
        if feeds and all(feed.retry_at and feed.retry_at > now for feed in feeds):
            until = min(feed.retry_at for feed in feeds if feed.retry_at)
            raise _codat_unavailable("Codat did not accept the calls", until, now)

    async def _poll(self, feed: Feed, progress: Progress, codat: Callable[[], Awaitable[Codat]]) -> None:
        """Ask Codat for the dataset in flight, if no other caller did a moment ago, and record its end."""
        request, now = feed.in_flight, self.clock()
        if request is None or not request.dataset_id or feed.is_as_of(progress.request.not_before):
            return
        ran = max(now - request.at, timedelta(0))
        shortest = next(iter(feed.history.durations), timedelta(0))
        if ran < max(POLL_EVERY, FIRST_POLL * shortest):
            return
        lease = f"poll {'/'.join(feed.key)}"
        until = now + max(POLL_EVERY, POLL_SHARE * ran)
        if not await asyncio.to_thread(self.tables.control.acquire, lease, uuid4().hex, until, now):
            return
        try:
            operation = await (await codat()).dataset(feed.company_id, request.dataset_id)
        except CodatError as error:
            logger.warning("A dataset could not be polled", extra={"company_id": feed.company_id, "error": str(error)})
            return
        if has_ended(operation.status):
            polled = of_operation(operation, max(self.clock(), operation.completed or operation.requested))
            await asyncio.to_thread(self.recorder.feed, feed, progress.company, polled)


def request_id(caller: str, company_id: str, key: str) -> str:
    """Return the id of the request that a caller makes about a company with an Idempotency-Key."""
    return hashlib.sha256("\n".join((caller, company_id, key)).encode()).hexdigest()[:32]


def retry_after(progress: Progress, now: datetime) -> int:
    """Return in how many seconds to ask for a request again."""
    if progress.forecast is None:
        return 0
    return max(1, _seconds(min(progress.forecast.expected_at, progress.request.deadline) - now))


def is_satisfied(progress: Progress) -> bool:
    """Return whether every feed of a request is as fresh as asked."""
    return progress.request.is_done and all(result.state is FeedState.FRESH for result in progress.request.results)


def _codat_unavailable(reason: str, until: datetime, now: datetime) -> Problem:
    return Problem(
        503,
        "codat-unavailable",
        f"{reason} until {until.isoformat(timespec='seconds')}.",
        retry_after=_seconds(until - now),
        extra={"until": until},
    )


def _seconds(duration: timedelta) -> int:
    return max(1, math.ceil(duration.total_seconds()))
