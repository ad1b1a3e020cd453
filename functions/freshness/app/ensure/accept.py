"""Ensuring that data is as fresh as a caller needs: accepting requests, advancing them, and ending them.

A request is an item of its own. What it needs is recorded on the feeds, for all callers together. So a tick finds and
finishes what a crash left behind: `EnsureFresh.end_due_requests` ends requests, and records again what feeds lack.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from aws_lambda_powertools import Logger

from freshness.app import audit
from freshness.app.ensure import admission
from freshness.app.ensure.advance import POLL_AT_LEAST_EVERY, Advancer, between_polls, first_poll_at
from freshness.app.ensure.finish import Finisher, left_to_the_next_tick
from freshness.app.ensure.places import place_to_wait
from freshness.app.ensure.problems import Problem, seconds
from freshness.app.services import Services
from freshness.aws.dynamodb.control import DispatchState
from freshness.aws.dynamodb.table import ContentionError, VersionConflict
from freshness.aws.event_bus import NotPublished
from freshness.codat.client import Codat
from freshness.domain.audit import Actor, Operation
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.freshness_request import (
    KEPT,
    FreshnessRequest,
    OnLate,
    ReadEstimate,
)

LONGEST_ANSWER = timedelta(seconds=30)
"""How long the HTTP API lets the call that makes a request take."""
LONGEST_ID = 100
"""The longest id that is looked up. DynamoDB might refuse a longer one."""
MOST_IN_AN_HOUR = 5_000
"""The most requests of one caller that are stored in an hour. A tick can look at about as many."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asks for, with absolute times."""

    data_types: tuple[str, ...]
    not_before: datetime
    deadline: datetime
    on_late: OnLate = OnLate.STALE
    at_any_time: bool = False
    purpose: str = ""
    task_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A request, with the feeds and the company as they are now, and when it is expected to be satisfied."""

    request: FreshnessRequest
    company: Company
    feeds: tuple[Feed, ...]
    estimate: ReadEstimate | None = None
    """`None` once the request is done."""
    account: DispatchState | None = None
    """The pause and the limits, as read a moment ago to accept the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureFresh:
    """Accepts, advances and ends requests for fresh data. Errors that a caller must see are raised as `Problem`."""

    services: Services

    @property
    def _finisher(self) -> Finisher:
        return Finisher(services=self.services)

    @property
    def _advancer(self) -> Advancer:
        return Advancer(services=self.services)

    def company(self, company_id: str) -> tuple[Company, DispatchState]:
        """Return a company, with the pause and the limits that apply to all companies.

        Raises:
            Problem: there is no such company.
        """
        if len(company_id) > LONGEST_ID:
            raise Problem(404, "unknown-company", "There is no company with such a long id.")
        company, account = self.services.tables.companies.get_with_account(company_id, self.services.tables.control)
        if company is None or company.deleted_at:
            raise Problem(404, "unknown-company", f"There is no company {company_id!r}.")
        return company, account

    def types_of_set(self, name: str, company: Company) -> tuple[str, ...]:
        """Return the data types of a set of the policy that applies to a company.

        Raises:
            Problem: there is no such set.
        """
        for each in self.services.policy.sets:
            if each.name == name and each.matches_company(company):
                return each.data_types
        raise Problem(422, "unknown-set", f"The policy has no set {name!r} for this company.")

    def accept(
        self, company: Company, account: DispatchState, ask: Ask, *, actor: Actor, key: str = "", fingerprint: str = ""
    ) -> Progress:
        """Accept a new request, or find the earlier one with the same key. Return its progress.

        Without a key, the token of a task is the key. A request that is satisfied at once is stored only if it has a
        key or a purpose, or if the policy keeps all requests. Who asks is recorded first, once for all calls with the
        same key.

        Raises:
            Problem: the request is refused.
            NotPublished: it cannot be recorded who asks.
        """
        if ask.task_token and self.services.tasks is None:
            raise Problem(422, "tasks-off", "The stack may end no tasks of Step Functions: set task_tokens_of.")
        key, caller = key or ask.task_token, actor.principal
        now = self.services.clock()
        data_types = tuple(dict.fromkeys(ask.data_types))
        request = FreshnessRequest(
            request_id=request_id(caller, company.company_id, key or _same(ask)),
            company_id=company.company_id,
            data_types=data_types,
            not_before=ask.not_before,
            deadline=ask.deadline,
            accepted_at=now,
            on_late=ask.on_late,
            at_any_time=ask.at_any_time,
            caller=caller,
            purpose=ask.purpose,
            kept_until=now + self.services.policy.requests.keep_requests,
            task_token=ask.task_token,
            fingerprint=fingerprint if key else "",
            answering_until=now + LONGEST_ANSWER if key else None,
        )
        if key and (known := self.services.tables.requests.get(request.request_id)):
            return self._again(known, company, fingerprint)
        feeds = self.services.tables.feeds.of_company(company.company_id)
        admission.require_supported(request, feeds, company)
        ended = request.with_results(feeds, company, now)
        if not ended.is_fresh:
            admission.require_possible(self.services, request, feeds, company, account)
        if ended.is_fresh and not key:
            with self._recorded(actor, ask, company):
                if ask.purpose or self.services.policy.keeps_requests:
                    # Nobody waits for its end, so it is not published.
                    receipt = replace(ended, request_id=uuid4().hex, is_published=True)
                    ended = self.services.tables.requests.put(receipt)
            return Progress(request=ended, company=company, feeds=tuple(request.feeds_of(feeds, company)))
        self._require_turn(caller)
        with self._recorded(actor, ask, company):
            try:
                stored = self.services.tables.requests.put(request)
            except VersionConflict:
                known = self.services.tables.requests.get(request.request_id) or request
                if key or not known.is_done:
                    return self._again(known, company, fingerprint)
                # The same caller asked for the same before, and that request has ended.
                stored = self.services.tables.requests.put(replace(request, request_id=uuid4().hex))
        return replace(self.progress(stored, company, feeds), account=account)

    def _recorded(self, actor: Actor, ask: Ask, company: Company) -> AbstractContextManager[None]:
        what = f"{', '.join(sorted(ask.data_types))} as of {ask.not_before:%Y-%m-%d %H:%M} UTC"
        return audit.recorded(self.services, actor, Operation.ENSURE, what, company=company)

    def _require_turn(self, caller: str) -> None:
        """Count a request of a caller, and raise a `Problem` if it is one too many in this hour."""
        now = self.services.clock()
        hour = now.replace(minute=0, second=0, microsecond=0)
        if self.services.tables.requests.count(caller, hour) > MOST_IN_AN_HOUR:
            raise Problem(
                429,
                "too-many-requests",
                f"A caller may make {MOST_IN_AN_HOUR} requests an hour that are not satisfied at once.",
                retry_after=seconds(hour + timedelta(hours=1) - now),
            )

    def answered(self, request: FreshnessRequest) -> None:
        """Record that the call that made a request was answered, so that its key may be used again."""
        if request.answering_until:
            self.services.tables.requests.update(request, lambda known: replace(known, answering_until=None))

    def load(self, company_id: str, request_id: str) -> FreshnessRequest:
        """Return a request about a company.

        Raises:
            Problem: there is no such request, or it is no longer kept.
        """
        request = self.services.tables.requests.get(request_id) if len(request_id) <= LONGEST_ID else None
        is_kept = request is not None and request.expires_at > self.services.clock()
        if request is None or not is_kept or request.company_id != company_id:
            raise Problem(404, "unknown-request", "The company has no such request, or it is no longer kept.")
        return request

    def progress(
        self, request: FreshnessRequest, company: Company | None = None, feeds: Iterable[Feed] | None = None
    ) -> Progress:
        """Return a request as it is now. If its results are final, end it and publish that."""
        company = (
            company or self.services.tables.companies.get(request.company_id) or Company(company_id=request.company_id)
        )
        known = list(self.services.tables.feeds.of_company(request.company_id) if feeds is None else feeds)
        request = self._finisher.finish(request, company, known)
        mine = request.feeds_of(known, company)
        ahead = None if request.is_done else admission.estimated(self.services, request, mine, company)
        return Progress(request=request, company=company, feeds=tuple(mine), estimate=ahead)

    async def advance(self, progress: Progress, codat: Callable[[], Awaitable[Codat]]) -> Progress:
        """Record what the feeds of a request lack, queue those that may be queued, and poll those in flight.

        `codat` opens a client when the first call is made.
        """
        if progress.request.is_done:
            return progress
        request, company = progress.request, progress.company
        feeds = await self._advancer.advance(request, company, progress.feeds, progress.account, codat)
        return await asyncio.to_thread(self.progress, request, company, feeds)

    async def wait(self, progress: Progress, preferred: timedelta, remaining: timedelta) -> Progress:
        """Queue what a request needs, then wait as long as its caller prefers. Return its progress.

        This takes at most `remaining`. The client for Codat is opened for the first call.
        """
        if progress.request.is_done:
            return progress
        services, now = self.services, self.services.clock()
        known = progress.account.limits if progress.account else None
        try:
            async with AsyncExitStack() as stack:
                opened: list[Codat] = []
                lock = asyncio.Lock()

                async def codat() -> Codat:
                    async with lock:
                        if not opened:
                            client = services.codat(now + remaining, on_demand=True, known=known)
                            opened.append(await stack.enter_async_context(client))
                    return opened[0]

                try:
                    progress = await self.wait_until(progress, now + min(preferred, remaining), codat)
                finally:
                    services.recorder.write_collected()
                    services.emit(services.counts)
                    calls = sum(each.calls for each in opened)
                    logger.info("Request advanced", extra={"counts": dict(services.counts), "codat_calls": calls})
        except ContentionError as error:
            # Only the number of calls was not written. The request goes on.
            logger.warning("The number of calls could not be written", extra={"error": str(error)})
        return progress

    async def wait_until(self, progress: Progress, until: datetime, codat: Callable[[], Awaitable[Codat]]) -> Progress:
        """Advance a request until it is done, or until `until`. Stop earlier if few places to wait are free."""
        with _left_to_a_later_turn():
            progress = await self.advance(progress, codat)
        if progress.request.is_done or self.services.clock() >= until:
            return progress
        with place_to_wait(self.services, until) as ends:
            while not progress.request.is_done and (now := self.services.clock()) < ends:
                await asyncio.sleep((min(_next_turn(progress, now), ends) - now).total_seconds())
                with _left_to_a_later_turn():
                    if not self._advancer.may_poll(progress.feeds, progress.request):
                        progress = await asyncio.to_thread(self.progress, progress.request, progress.company)
                    progress = await self.advance(progress, codat)
        return progress

    def end_due_requests(self, until: datetime) -> int:
        """End the open requests whose results are final, and record what the feeds of the others lack.

        Read them by deadline, the earliest first, and leave to the next tick what is left at `until`. Return how many
        of those that were read are still open.
        """
        still_open = 0
        for requests in self.services.tables.requests.open(self.services.clock() + KEPT):
            of_companies: dict[str, list[FreshnessRequest]] = {}
            for request in requests:
                of_companies.setdefault(request.company_id, []).append(request)
            for company_id, of_company in of_companies.items():
                if self.services.clock() >= until:
                    return still_open
                with left_to_the_next_tick(of_company[0]):
                    still_open += self._end_or_record(company_id, of_company)
        return still_open

    def _end_or_record(self, company_id: str, requests: Iterable[FreshnessRequest]) -> int:
        """End the requests about a company whose results are final, and record what the feeds of the others lack.

        The company is read once for all of them. Return how many are still open.
        """
        company = self.services.tables.companies.get(company_id) or Company(company_id=company_id)
        feeds = {feed.key: feed for feed in self.services.tables.feeds.of_company(company_id)}
        still_open = 0
        for request in requests:
            with left_to_the_next_tick(request):
                if request.is_done:
                    self._finisher.publish(request, company)
                    continue
                progress = self.progress(request, company, feeds.values())
                if not progress.request.is_done:
                    still_open += 1
                    current = self._advancer.record_demand(request, progress.company, progress.feeds)
                    feeds |= {feed.key: feed for feed in current}
        return still_open

    def _again(self, known: FreshnessRequest, company: Company, fingerprint: str) -> Progress:
        """Return the progress of a request whose key is used again."""
        if known.fingerprint and known.fingerprint != fingerprint:
            raise Problem(422, "key-reused", "The Idempotency-Key was used before, with another body.")
        if known.answering_until and known.answering_until > self.services.clock() and not known.is_done:
            raise Problem(
                409, "key-in-progress", "A request with this Idempotency-Key is being answered.", retry_after=1
            )
        return self.progress(known, company)


@contextmanager
def _left_to_a_later_turn() -> Iterator[None]:
    """Log that a write or an event failed. Another caller, a later turn or a tick repeats it."""
    try:
        yield
    except (ContentionError, NotPublished) as error:
        logger.info("A request could not be advanced", extra={"error": str(error)})


def _next_turn(progress: Progress, now: datetime) -> datetime:
    """Return when to look at a request again: when Codat may be polled, after `POLL_AT_LEAST_EVERY` at most."""
    polls = [at for feed in progress.feeds if (at := first_poll_at(feed, progress.request))]
    soonest = now + between_polls(progress.feeds, now)
    return min(max(soonest, min(polls, default=now)), now + POLL_AT_LEAST_EVERY)


def _same(ask: Ask) -> str:
    """Return a key for a call without one. Calls that ask for the same have the same key."""
    return repr((sorted(ask.data_types), ask.not_before, ask.on_late, ask.at_any_time, ask.purpose))


def request_id(caller: str, company_id: str, key: str) -> str:
    """Return the id of the request that a caller makes about a company with an Idempotency-Key."""
    return hashlib.sha256("\n".join((caller, company_id, key)).encode()).hexdigest()[:32]


def retry_after(progress: Progress, now: datetime) -> int:
    """Return in how many seconds to ask for a request again."""
    if progress.estimate is None:
        return 0
    return seconds(min(progress.estimate.expected_at, progress.request.deadline) - now)
