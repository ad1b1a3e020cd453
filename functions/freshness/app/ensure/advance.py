"""Reading on demand what callers wait for: recording what feeds lack, queuing them, and polling those in flight."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from freshness.app.ensure.problems import codat_unavailable
from freshness.app.queueing.calls import Queueing, take_lease
from freshness.app.queueing.decide_now import decide_now
from freshness.app.services import Services
from freshness.app.tick import stop_metrics
from freshness.aws.dynamodb.control import DispatchState, Lease
from freshness.aws.dynamodb.table import ContentionError
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError, RateLimited
from freshness.codat.status_poller import poll_ended, poll_in_flight
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import DatasetState, has_ended
from freshness.domain.feeds.facts import DatasetPolled, DataWanted
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.feeds.feed_values import Wanted
from freshness.domain.feeds.freshness_request import ENOUGH_SYNCS, FreshnessRequest, dataset_of_copy
from freshness.planning.decision import Action, Decision
from freshness.planning.planner import needs_all_feeds

POLL_EVERY = timedelta(seconds=1.5)
"""The shortest time between two polls of datasets that callers wait for."""
POLL_SHARE = 0.15
"""This share of the time that a dataset has run is added to `POLL_EVERY`, so that a long sync needs few polls."""
POLL_AT_LEAST_EVERY = timedelta(seconds=4)
"""The longest time between two polls, and between two looks at the tables for what webhooks report."""
FIRST_POLL = 0.6
"""Poll first after this share of the shortest measured sync, once `ENOUGH_SYNCS` were measured."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advancer:
    """Queues and polls what callers wait for."""

    services: Services

    def record_demand(self, request: FreshnessRequest, company: Company, feeds: Iterable[Feed]) -> list[Feed]:
        """Record what feeds lack, unless it is known or a read in flight brings it. Return the feeds as they are now.

        If many callers write the same feed at the same moment, a later turn records it.
        """
        known = list(feeds)
        wanted = Wanted(not_before=request.not_before, deadline=request.deadline, at_any_time=request.at_any_time)
        lacking = [
            feed
            for feed in known
            if not request.is_served(feed) and not feed.is_unsupported and feed.with_wanted(wanted) != feed
        ]
        current: dict[FeedKey, Feed] = {}
        with suppress(ContentionError):
            changes = self.services.recorder.record_feeds(
                company, [(feed, (DataWanted(wanted=wanted),)) for feed in lacking]
            )
            current = {change.feed.key: change.feed for change in changes}
        return [current.get(feed.key, feed) for feed in known]

    async def advance(
        self,
        request: FreshnessRequest,
        company: Company,
        feeds: Iterable[Feed],
        account: DispatchState | None,
        codat: Callable[[], Awaitable[Codat]],
    ) -> list[Feed]:
        """Record what feeds lack, queue and poll them where possible, and return them as they are now.

        If a copy may be fresh enough but it is not known when it was requested, ask Codat first. `account` is read if
        it is not given.

        Raises:
            Problem: Codat accepted none of the calls.
        """
        given = list(feeds)
        polled_copies = await asyncio.gather(*(self._poll_copy(feed, request, company, codat) for feed in given))
        feeds = [feed for feed in polled_copies if feed]
        left = [feed for feed, polled in zip(given, polled_copies, strict=True) if polled is None]
        leases, held_elsewhere = await self._leases([feed for feed in feeds if _may_be_queued(feed, request)])
        try:
            recorded = await asyncio.to_thread(self.record_demand, request, company, feeds)
            current = {feed.key: feed for feed in recorded}
            # A feed that was not written under its lease may have been queued since it was read.
            unwritten = {feed.key for feed in feeds if current[feed.key].version == feed.version}
            await _release(leases, unwritten)
            mine = [feed for feed in recorded if feed.key not in held_elsewhere]
            decisions = await asyncio.to_thread(self._decide, mine, company, account)
            if decisions:
                current |= await self._queue(decisions, leases, await codat())
        finally:
            await _release(leases, leases.keys())
        polled = await self._poll(list(current.values()), request, company, codat)
        self._require_accepted(decisions, polled)
        return [*polled, *left]

    async def _leases(self, feeds: Collection[Feed]) -> tuple[dict[FeedKey, Lease], set[FeedKey]]:
        """Take the leases of feeds. Return these, and the feeds whose lease another function holds."""
        control, now = self.services.tables.control, self.services.clock()
        taken = await asyncio.gather(*(asyncio.to_thread(take_lease, control, feed, now) for feed in feeds))
        leases = {feed.key: lease for feed, lease in zip(feeds, taken, strict=True) if lease}
        return leases, {feed.key for feed in feeds} - leases.keys()

    def _decide(self, feeds: list[Feed], company: Company, account: DispatchState | None) -> list[Decision]:
        """Return the decisions to queue feeds that callers wait for, if they may be queued now."""
        wanted = {feed.key: feed for feed in feeds if feed.wanted and not feed.in_flight}
        if self.services.dry_run or not wanted:
            return []
        tables, policy, now = self.services.tables, self.services.policy, self.services.clock()
        account = account or tables.control.account()
        if account.limits.stopped_before(now):
            return []
        others: list[Feed] = []
        if any(needs_all_feeds(feed, company, policy) for feed in wanted.values()):
            others = [feed for feed in tables.feeds.of_company(company.company_id) if feed.key not in wanted]
        companies = {company.company_id: company}
        decisions = decide_now(self.services, [*wanted.values(), *others], companies, account, now)
        return [each for each in decisions if each.action is Action.QUEUE and each.feed.key in wanted]

    async def _queue(
        self, decisions: list[Decision], leases: dict[FeedKey, Lease], codat: Codat
    ) -> dict[FeedKey, Feed]:
        """Queue feeds at the same time. Return those about which something was recorded.

        Remove their leases from `leases`: queueing a feed gives its lease back.

        Raises:
            Problem: Codat accepts none of the calls.
        """
        queueing = Queueing(services=self.services, codat=codat)
        await asyncio.gather(*[queueing.queue(each, leases.pop(each.feed.key, None)) for each in decisions])
        for metric, number in stop_metrics(queueing.stopped_by).items():
            self.services.counts.count(metric, number)
        now = self.services.clock()
        stop = next((error.until for error in queueing.stopped_by if isinstance(error, RateLimited)), None)
        if stop:
            raise codat_unavailable("Codat accepts no calls, because a limit is reached", stop, now)
        if queueing.stopped_by:
            raise codat_unavailable("Codat refuses this account's calls", now + timedelta(minutes=5), now)
        return queueing.recorded

    def _require_accepted(self, decisions: Iterable[Decision], feeds: Iterable[Feed]) -> None:
        """Raise a `Problem` if Codat accepted none of the calls, so that each feed has to be tried again later."""
        now, queued = self.services.clock(), {decision.feed.key for decision in decisions}
        retries = [feed.retry_at for feed in feeds if feed.key in queued]
        later = [retry_at for retry_at in retries if retry_at and retry_at > now]
        if later and len(later) == len(retries):
            raise codat_unavailable("Codat did not accept the calls", min(later), now)

    def may_poll(self, feeds: Iterable[Feed], request: FreshnessRequest) -> bool:
        """Return whether it is time to ask Codat about a dataset in flight that the request waits for."""
        now = self.services.clock()
        return any((at := first_poll_at(feed, request)) and at <= now for feed in feeds)

    async def _poll(
        self, feeds: list[Feed], request: FreshnessRequest, company: Company, codat: Callable[[], Awaitable[Codat]]
    ) -> list[Feed]:
        """Ask Codat once for all datasets in flight, unless another caller just did, and record their ends.

        Return the feeds as they are now.
        """
        now = self.services.clock()
        if not self.may_poll(feeds, request):
            return feeds
        waits = [feed for feed in feeds if (at := first_poll_at(feed, request)) and at <= now]
        # The lease ends before this caller's next turn, which must be able to take it.
        until = now + 0.9 * between_polls(waits, now)
        lease = f"poll {company.company_id} {' '.join(sorted(feed.data_type for feed in waits))}"
        if not await asyncio.to_thread(self.services.tables.control.take, lease, until, now):
            current = await asyncio.to_thread(self.services.tables.feeds.of_company, company.company_id)
            return request.feeds_of(current, company)
        try:
            polled = await poll_in_flight(await codat(), company.company_id, waits, now)
        except CodatError as error:
            logger.warning(
                "Datasets could not be polled", extra={"company_id": feeds[0].company_id, "error": str(error)}
            )
            return feeds
        news = [
            (feed, [polled[feed.key]])
            for feed in waits
            if feed.key in polled and _is_news(feed, polled[feed.key], self.services.clock())
        ]
        if not news:
            return feeds
        changes = await asyncio.to_thread(self.services.recorder.record_feeds, company, news)
        recorded = {change.feed.key: change.feed for change in changes}
        return [recorded.get(feed.key, feed) for feed in feeds]

    async def _poll_copy(
        self, feed: Feed, request: FreshnessRequest, company: Company, codat: Callable[[], Awaitable[Codat]]
    ) -> Feed | None:
        """Ask Codat when the copy of a feed was requested, if that is not known and the copy may be fresh enough.

        Return the feed as it is now; `None` if another caller asks, whose answer a later turn finds.
        """
        is_unknown = feed.as_of is not None and feed.as_of.is_estimated
        may_serve = feed.succeeded_at is not None and feed.succeeded_at >= request.not_before
        if not (is_unknown and may_serve) or feed.in_flight:
            return feed
        return await self._poll_dataset(feed, company, dataset_of_copy(feed), self.services.clock() + POLL_EVERY, codat)

    async def _poll_dataset(
        self, feed: Feed, company: Company, dataset_id: str, until: datetime, codat: Callable[[], Awaitable[Codat]]
    ) -> Feed | None:
        """Ask Codat for a dataset, or for the latest if its id is empty, and record how it ended.

        Nobody else asks before `until`. Return the feed as it is now; `None` if another caller asks.
        """
        lease, now = f"poll {'/'.join(feed.key)}", self.services.clock()
        if not await asyncio.to_thread(self.services.tables.control.take, lease, until, now):
            return None
        try:
            polled = await poll_ended(await codat(), feed, dataset_id, self.services.clock())
        except CodatError as error:
            logger.warning("A dataset could not be polled", extra={"company_id": feed.company_id, "error": str(error)})
            return feed
        if polled is None:
            return feed
        recorded = await asyncio.to_thread(self.services.recorder.record_feed, feed, company, polled)
        return recorded.feed


def first_poll_at(feed: Feed, request: FreshnessRequest) -> datetime | None:
    """Return when to ask first for the dataset in flight that a request waits for, `None` if it waits for none."""
    sync, known = feed.in_flight, feed.history.durations
    if sync is None or not sync.dataset_id or feed.is_as_of(request.not_before):
        return None
    shortest = known[0] if len(known) >= ENOUGH_SYNCS else timedelta(0)
    return sync.at + max(POLL_EVERY, FIRST_POLL * shortest)


def between_polls(feeds: Iterable[Feed], now: datetime) -> timedelta:
    """Return the time between two polls of datasets in flight."""
    ran = min((max(now - feed.in_flight.at, timedelta(0)) for feed in feeds if feed.in_flight), default=timedelta(0))
    return min(POLL_EVERY + POLL_SHARE * ran, POLL_AT_LEAST_EVERY)


def _is_news(feed: Feed, polled: DatasetPolled, now: datetime) -> bool:
    """Return whether a dataset has ended, or Codat says something new about it.

    A dataset that Codat does not know yet counts as cancelled only once it is late.
    """
    if polled.state == DatasetState.CANCELLED and feed.late_at and feed.late_at > now:
        return False
    return has_ended(polled.state) or bool(polled.reason and polled.reason != feed.running_description)


def _may_be_queued(feed: Feed, request: FreshnessRequest) -> bool:
    """Return whether a request needs a new read: nobody has asked for one as late, and none is in flight."""
    lacks = feed.wanted is None or feed.wanted.not_before < request.not_before
    return lacks and not feed.in_flight and not feed.is_unsupported and not request.is_served(feed)


async def _release(leases: dict[FeedKey, Lease], keys: Collection[FeedKey]) -> None:
    """Give back the leases of these feeds, and remove them from `leases`."""
    given_back = [leases.pop(key) for key in [*keys] if key in leases]
    await asyncio.gather(*(asyncio.to_thread(lease.release) for lease in given_back))
