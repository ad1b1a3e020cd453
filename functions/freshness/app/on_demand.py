"""Reading on demand what callers wait for: recording what feeds lack, queuing them, and polling those in flight."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from aws_lambda_powertools import Logger

from freshness.app.deciding import decide_now
from freshness.app.exclusive_run import stops
from freshness.app.problems import codat_unavailable
from freshness.app.queueing import Queueing
from freshness.app.record import Recorder
from freshness.aws.control import Account
from freshness.aws.metrics import Metric
from freshness.aws.table import ContentionError
from freshness.codat.client import Codat
from freshness.codat.dataset_facts import polled_fact
from freshness.codat.errors import CodatError, RateLimited
from freshness.domain.company import Company
from freshness.domain.dataset import has_ended
from freshness.domain.facts import DataWanted
from freshness.domain.feed import Feed
from freshness.domain.freshness_request import ENOUGH_SYNCS, FreshnessRequest
from freshness.planning.decision import Action, Decision
from freshness.planning.planner import needs_all_feeds

POLL_EVERY = timedelta(seconds=1.5)
"""The shortest time between two polls of a dataset that callers wait for."""
POLL_SHARE = 0.15
"""What is added to it, as a share of the time that the dataset has run, so that a long sync needs few polls."""
FIRST_POLL = 0.6
"""When to poll first, as a share of the shortest sync of those that were measured, if they are enough to know it."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemand:
    """Reads what callers wait for."""

    recorder: Recorder
    clock: Callable[[], datetime]
    tally: Counter[Metric]

    def want(self, request: FreshnessRequest, company: Company, feeds: Iterable[Feed]) -> list[Feed]:
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

    def decide(self, feeds: list[Feed], company: Company, account: Account | None) -> list[Decision]:
        """Return the decisions to queue those of the feeds that callers wait for and that may be queued now.

        `account` is read if it is not given.
        """
        wanted = {feed.key: feed for feed in feeds if feed.wanted and not feed.in_flight}
        if not wanted:
            return []
        tables, policy, now = self.recorder.tables, self.recorder.policy, self.clock()
        account = account or tables.control.account()
        if account.limits.stopped_before(now):
            return []
        others: list[Feed] = []
        if any(needs_all_feeds(feed, company, policy) for feed in wanted.values()):
            others = [feed for feed in tables.feeds.of_company(company.company_id) if feed.key not in wanted]
        companies = {company.company_id: company}
        decisions = decide_now(tables, policy, [*wanted.values(), *others], companies, account, now)
        return [each for each in decisions if each.action is Action.QUEUE and each.feed.key in wanted]

    async def queue(self, decisions: list[Decision], codat: Codat) -> None:
        """Queue feeds at the same time.

        Raises:
            Problem: Codat accepts none of the calls.
        """
        queueing = Queueing(
            tables=self.recorder.tables, codat=codat, recorder=self.recorder, clock=self.clock, tally=self.tally
        )
        await asyncio.gather(*(queueing.queue(decision) for decision in decisions))
        self.tally.update(stops(queueing.stopped_by))
        now = self.clock()
        stop = next((error.until for error in queueing.stopped_by if isinstance(error, RateLimited)), None)
        if stop:
            raise codat_unavailable("Codat accepts no calls, because a limit is reached", stop, now)
        if queueing.stopped_by:
            raise codat_unavailable("Codat refuses this account's calls", now + timedelta(minutes=5), now)

    def require_accepted(self, decisions: Iterable[Decision], feeds: Iterable[Feed]) -> None:
        """Raise a `Problem` if Codat accepted none of the calls that were decided: each feed is tried again later."""
        now, queued = self.clock(), {decision.feed.key for decision in decisions}
        retries = [feed.retry_at for feed in feeds if feed.key in queued]
        later = [retry_at for retry_at in retries if retry_at and retry_at > now]
        if later and len(later) == len(retries):
            raise codat_unavailable("Codat did not accept the calls", min(later), now)

    async def poll(
        self, feed: Feed, request: FreshnessRequest, company: Company, codat: Callable[[], Awaitable[Codat]]
    ) -> None:
        """Ask Codat for the dataset in flight, if no other caller did a moment ago, and record its end."""
        sync, now = feed.in_flight, self.clock()
        if sync is None or not sync.dataset_id or feed.is_as_of(request.not_before):
            return
        ran = max(now - sync.at, timedelta(0))
        known = feed.history.durations
        shortest = known[0] if len(known) >= ENOUGH_SYNCS else timedelta(0)
        if ran < max(POLL_EVERY, FIRST_POLL * shortest):
            return
        lease = f"poll {'/'.join(feed.key)}"
        until = now + POLL_EVERY + POLL_SHARE * ran
        if not await asyncio.to_thread(self.recorder.tables.control.acquire, lease, uuid4().hex, until, now):
            return
        try:
            operation = await (await codat()).dataset(feed.company_id, sync.dataset_id)
        except CodatError as error:
            logger.warning("A dataset could not be polled", extra={"company_id": feed.company_id, "error": str(error)})
            return
        if has_ended(operation.status):
            polled = polled_fact(operation, max(self.clock(), operation.completed or operation.requested))
            await asyncio.to_thread(self.recorder.feed, feed, company, polled)
