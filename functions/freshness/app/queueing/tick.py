"""Queueing refreshes: reading the feeds that are due, deciding about each, and acting on the decisions."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from aws_lambda_powertools import Logger

from freshness.app.company_turns import CompanyTurn, CompanyTurns
from freshness.app.queueing.asking import ask, find_queued, to_ask
from freshness.app.queueing.bulk_calls import queue_together
from freshness.app.queueing.calls import Queueing, log_context
from freshness.app.queueing.decide_now import decide_now
from freshness.app.queueing.promise_metrics import PromiseMetrics
from freshness.app.services import Services
from freshness.app.tick import MAX_CONCURRENCY, Failures, for_each
from freshness.aws.dynamodb.control import DispatchState
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CheckNeeded
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.codat_schedule import CodatSchedule
from freshness.domain.feeds.facts import Deferred, Rescheduled, RunInterrupted
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.feeds.feed_values import Decided
from freshness.planning.decision import Action, Decision, samples
from freshness.planning.planner import SOON, due_soon, needs_all_feeds

BATCH = 2000
"""How many feeds a tick ranks and acts on together. If more are due, the others follow in further batches."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTick:
    """One tick of queueing. `limits` are Codat's at its start. At `until` the rest is left to the next tick.

    `unfinished_since` is set if the last run was killed or failed: it is when the first run of such a series began. A
    dry run queues nothing, and logs what it would queue.
    """

    services: Services
    queueing: Queueing
    limits: ApiLimits
    until: datetime
    unfinished_since: datetime | None = None
    failures: Failures
    """Why some feeds were left to the next tick. The others still have their turn."""
    metrics: PromiseMetrics = field(default_factory=PromiseMetrics)
    _waiting: list[Decision] = field(default_factory=list)
    """The decisions about feeds in flight that were not read again."""

    async def run(self) -> bool:
        """Publish which promises broke, and queue the feeds that are due if Codat may be called.

        Return whether every feed that could be reached was reached.
        """
        pause = await asyncio.to_thread(self.services.tables.control.paused)
        done, may_call = True, None
        self.services.in_flight.forget(self.services.clock())
        batches = self.services.tables.feeds.due(self.services.clock(), BATCH, self._is_needed)
        while feeds := await asyncio.to_thread(next, batches, None):
            may_call = self.services.accepts_calls(self.limits) if may_call is None else may_call
            decisions = await self.review_and_decide(feeds, pause=pause, may_call=may_call)
            if may_call:
                done = await self.act(decisions) and done
            self.metrics.add(decisions, self.queueing.unqueued, self.services.policy, self.services.clock())
            if self.services.clock() >= self.until:
                return False
        self.metrics.add(self._waiting, self.queueing.unqueued, self.services.policy, self.services.clock())
        return done

    def _is_needed(self, key: FeedKey, due_at: datetime) -> bool:
        """Return whether a due feed must be read: not if an earlier tick decided to wait for its dataset in flight."""
        decision = self.services.in_flight.decision(key, due_at, self.services.clock())
        if decision:
            self._waiting.append(decision)
        return decision is None

    async def review_and_decide(self, feeds: list[Feed], *, pause: Pause | None, may_call: bool) -> list[Decision]:
        """Record and publish which promises of the feeds broke by now, and decide about each feed.

        If Codat may be called, it is first asked about datasets in flight that may have ended.
        """
        companies = await asyncio.to_thread(
            self.services.tables.companies.get_many, (feed.company_id for feed in feeds)
        )
        if may_call:
            feeds = await self._asked(feeds, companies)
        feeds, unmarked = await self._reviewed(feeds, companies)
        feeds = await asyncio.to_thread(self._with_feeds_needed, feeds, companies)
        now = self.services.clock()
        limits = await asyncio.to_thread(self.services.tables.control.api_limits)
        account = DispatchState(pause, limits)
        decisions = await asyncio.to_thread(decide_now, self.services, feeds, companies, account, now)
        decisions = [decision for decision in decisions if decision.feed.key not in unmarked]
        self.services.in_flight.remember(decisions, self.services.policy, now)
        self.queueing.unqueued.update(
            decision.feed.key for decision in decisions if decision.action is Action.QUEUE and not self.services.dry_run
        )
        return decisions

    async def act(self, decisions: list[Decision]) -> bool:
        """Act on decisions. Return whether all of them were reached."""
        await asyncio.to_thread(self._learn, decisions)
        groups = _by_company(decisions)
        schedule = CodatSchedule()
        if any(len(group) > 1 for group in groups) and not self.services.dry_run:
            schedule = await asyncio.to_thread(self.services.tables.control.read, CodatSchedule)
        turns = (
            CompanyTurn(
                group[0].company,
                partial(self._act_on, group, schedule),
                calls_codat=self._queues(group),
                has_failed=any(decision.feed.failed_calls for decision in group),
            )
            for group in groups
        )
        return await self._turns.take_all(turns)

    async def _asked(self, feeds: list[Feed], companies: Mapping[str, Company]) -> list[Feed]:
        """Ask Codat for the state of datasets in flight where it must be known. Return the feeds as they are now."""
        asked = {feed.key: feed for feed in feeds}

        async def ask_about(company: Company, late: list[Feed]) -> None:
            with self.failures.collected({"company_id": company.company_id}):
                answered = await ask(self.queueing, company, late)
                asked.update({feed.key: feed for feed in answered if feed.key in asked})

        groups = to_ask(feeds, companies, self.services.policy, self.services.clock())
        await self._turns.take_all(CompanyTurn(company, partial(ask_about, company, late)) for company, late in groups)
        return list(asked.values())

    async def _reviewed(self, feeds: list[Feed], companies: Mapping[str, Company]) -> tuple[list[Feed], set[FeedKey]]:
        """Review the promises of the feeds, without a call of Codat. Return the feeds as they are now.

        After an unfinished run, record on each feed that it may be in flight. The second value has the keys of the
        feeds where that failed. They are left to the next tick.
        """
        reviewed = {feed.key: feed for feed in feeds}
        unmarked = set[FeedKey]()

        async def review(feed: Feed) -> None:
            company = companies.get(feed.company_id)
            if company is None or feed.connection_id not in company.connections:
                return
            names = {"company_id": feed.company_id, "data_type": feed.data_type}
            with self.failures.collected(names):
                reviewed[feed.key] = feed = await asyncio.to_thread(self.services.recorder.review, feed, company)
            if self.unfinished_since is None or feed.unanswered or feed.in_flight:
                return
            unmarked.add(feed.key)
            with self.failures.collected(names):
                fact = RunInterrupted(at=self.unfinished_since)
                reviewed[feed.key] = (
                    await asyncio.to_thread(self.services.recorder.record_feed, feed, company, fact)
                ).feed
                unmarked.remove(feed.key)

        await for_each(
            feeds, review, max_concurrency=MAX_CONCURRENCY, should_continue=lambda: self.services.clock() < self.until
        )
        return list(reviewed.values()), unmarked

    def _with_feeds_needed(self, feeds: list[Feed], companies: Mapping[str, Company]) -> list[Feed]:
        """Add all other feeds of those companies whose feeds are decided about together."""
        company_ids = {
            feed.company_id
            for feed in feeds
            if (company := companies.get(feed.company_id)) and needs_all_feeds(feed, company, self.services.policy)
        }
        whole = [
            feed for company_id in sorted(company_ids) for feed in self.services.tables.feeds.of_company(company_id)
        ]
        return whole + [feed for feed in feeds if feed.company_id not in company_ids]

    def _learn(self, decisions: list[Decision]) -> None:
        """Record the change rates of the feeds to be queued, so that the rates of their kinds are learned."""
        learned = samples(decisions)
        if learned and not self.services.dry_run:
            self.services.tables.learned.add(learned)

    @property
    def _turns(self) -> CompanyTurns:
        return CompanyTurns(
            services=self.services,
            codat=self.queueing.codat,
            failures=self.failures,
            should_continue=self._may_continue,
        )

    def _queues(self, group: list[Decision]) -> bool:
        return group[0].action is Action.QUEUE and not self.services.dry_run

    def _may_continue(self) -> bool:
        return not self.queueing.stopped_by and not self.queueing.codat.is_down and self.services.clock() < self.until

    async def _act_on(self, group: list[Decision], schedule: CodatSchedule) -> None:
        names = {"company_id": group[0].feed.company_id}
        are_queued = self._queues(group)
        if are_queued:
            group = await self._without_queued(group, names)
        wanted = [decision for decision in group if decision.feed.wanted]
        group = [decision for decision in group if not decision.feed.wanted]
        remaining = group
        if are_queued and group and (self.services.policy.products or (len(group) > 1 and schedule.on_first_link)):
            # What failed halfway is left to the next tick: some of the group may be in flight.
            remaining = []
            with self.failures.collected(names):
                remaining = await queue_together(self.queueing, group, schedule)
        if are_queued and not self.services.policy.products and any(_was_polled(each.feed) for each in group):
            remaining = [*remaining, *await asyncio.to_thread(self._due_soon, group)]
        reachability = self.queueing.codat.reachability
        for decision in (*wanted, *remaining):
            if self._may_continue() and reachability.responds(decision.feed.company_id) is not False:
                with self.failures.collected(names | {"data_type": decision.feed.data_type}):
                    await self._act(decision)

    async def _without_queued(self, group: list[Decision], names: dict[str, str]) -> list[Decision]:
        """Return the decisions about feeds that no earlier call has queued; none if that could not be recorded."""
        with self.failures.collected(names):
            return await find_queued(self.queueing, group)
        return []

    async def _act(self, decision: Decision) -> None:
        match decision.action:
            case Action.QUEUE if self.services.dry_run:
                logger.info("Would queue a refresh", extra=log_context(decision.feed))
            case Action.QUEUE:
                await self.queueing.queue(decision)
            case Action.CHECK:
                await asyncio.to_thread(self._request_check, decision)
            case Action.RESCHEDULE:
                await asyncio.to_thread(self._defer, decision)
            case Action.HIDE:
                await asyncio.to_thread(self._hide, decision)
            case Action.WAIT:
                return

    def _due_soon(self, group: list[Decision]) -> list[Decision]:
        """Return the decisions to queue a company's feeds that are due soon, and whose ends no webhook reports.

        From now on they are due together, and one call of Codat tells how all of them end.
        """
        company, due, now = group[0].company, {decision.feed.key for decision in group}, self.services.clock()
        feeds = self.services.tables.feeds.of_company(company.company_id)
        polled = [feed for feed in feeds if _was_polled(feed) and _is_nearly_due(feed, now)]
        return list(due_soon(company, polled, due, self.services.policy, now).values())

    def _request_check(self, decision: Decision) -> None:
        """Make a feed's company due for a check. If the company was deleted, delete the feed."""
        company = self.services.recorder.record_company(decision.company, CheckNeeded())
        if company.deleted_at:
            self.services.recorder.delete(decision.feed)

    def _defer(self, decision: Decision) -> None:
        decided = Decided(at=self.services.clock(), reason=decision.reason)
        fact = Deferred(until=decision.until, decided=decided, version=decision.feed.version)
        self.services.recorder.record_feed(decision.feed, decision.company, fact)

    def _hide(self, decision: Decision) -> None:
        """Remove a paused company's feed from the due index, unless its pause was changed in the meantime."""
        self._defer(decision)
        company = self.services.tables.companies.get(decision.company.company_id, consistent=True)
        if company and company.pause != decision.company.pause:
            self.services.recorder.record_feed(decision.feed, company, Rescheduled())


def _was_polled(feed: Feed) -> bool:
    """Return whether a poll found the end of the last refresh that we asked for: no webhook reported it in time."""
    request, end = feed.last_dataset, feed.end
    if request is None or request.trigger is Trigger.EXTERNAL or end is None:
        return False
    return bool(end.dataset_id) and end.dataset_id == request.dataset_id


def _is_nearly_due(feed: Feed, now: datetime) -> bool:
    """Return whether a feed is due within `SOON` of its own interval, which confidence may make far shorter."""
    if feed.due_at is None or feed.succeeded_at is None:
        return False
    return feed.due_at - now <= SOON * (feed.due_at - feed.succeeded_at)


def _by_company(decisions: Iterable[Decision]) -> list[list[Decision]]:
    """Group the decisions to queue by company, keeping their order. Each other decision is a group of its own."""
    groups: dict[object, list[Decision]] = {}
    for decision in decisions:
        feed = decision.feed
        groups.setdefault(feed.company_id if decision.action is Action.QUEUE else feed.key, []).append(decision)
    return list(groups.values())
