"""Queueing refreshes: taking the feeds that are due, and asking Codat to read them anew."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from aws_lambda_powertools import Logger

from freshness.app.concurrency import for_each
from freshness.app.promise_metrics import measure
from freshness.aws.event_bus import Bus, NotPublished, promise_news
from freshness.aws.metrics import Metric
from freshness.aws.store import SHARDS, ContentionError, Store
from freshness.codat import bulk_refresh
from freshness.codat.client import Codat
from freshness.codat.errors import (
    AccountLimit,
    AlreadyInProgress,
    CodatError,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unreadable,
    UnsupportedDataType,
)
from freshness.codat.models import PullOperation
from freshness.domain import backoff
from freshness.domain.change_rate import TELLING
from freshness.domain.codat_schedule import SyncSettings
from freshness.domain.company import Company
from freshness.domain.dataset import Dataset, DatasetState, Trigger, has_ended
from freshness.domain.feed import Decided, End, Feed, FeedKey, Request
from freshness.planning.allowance import allowance
from freshness.planning.planner import Action, Decision, decide, needs_all_feeds
from freshness.policy.policy import Policy

AT_ONCE = 10
MOST_FEEDS = 2000
"""Feeds that one tick looks at; the rest, due later, waits for the next."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """One tick of queueing. `until` is when to leave the rest to the next tick; `tally` counts what happened.

    In a dry run nothing is queued: what would be is logged.
    """

    store: Store
    codat: Codat
    bus: Bus
    policy: Policy
    clock: Callable[[], datetime]
    until: datetime
    dry_run: bool = False
    shards: tuple[str, ...] = SHARDS
    """The part of the feeds that is this tick's; others may be at work on the rest."""
    tally: Counter[Metric] = field(default_factory=Counter)
    stopped_by: list[CodatError] = field(default_factory=list)
    failures: list[NotPublished | ContentionError] = field(default_factory=list)
    """Why some feeds were left as they are to the next tick, which does not keep others from their turn."""
    waiting: set[FeedKey] = field(default_factory=set)
    """The feeds to queue, of which nothing has become known yet."""

    async def queue_due(self, may_call: Callable[[], bool] = lambda: True) -> bool:
        """Tell of promises, and queue the feeds that are due, if Codat may be called by then.

        Returns whether all that could be were reached.
        """
        due = await self.look_at_due()
        await self.tell(due)
        done = await self.queue(due) if may_call() else True
        self.measure(due)
        return done

    async def look_at_due(self) -> list[Decision]:
        """Decide about the feeds that are due."""
        now = self.clock()
        feeds = await asyncio.to_thread(self.store.feeds_due, now, MOST_FEEDS, self.shards)
        companies = await asyncio.to_thread(self.store.companies, (feed.company_id for feed in feeds))
        paused = await asyncio.to_thread(self.store.is_paused)
        feeds = await asyncio.to_thread(self._with_feeds_needed, feeds, companies)
        quota = await asyncio.to_thread(self.store.quota)
        allowed = allowance(self.policy.budget, quota, now) * len(self.shards) / len(SHARDS)
        decisions = decide(feeds, companies, self.policy, now, paused=paused, allowance=allowed)
        self.waiting.update(decision.feed.key for decision in decisions if decision.action is Action.QUEUE)
        return decisions

    async def tell(self, decisions: Iterable[Decision]) -> None:
        """Publish which promises broke, or are kept again: also while Codat takes no calls, as this makes none."""
        now = self.clock()
        await for_each(
            decisions,
            lambda decision: self._alone(asyncio.to_thread(self._tell, decision.feed, decision.company, now)),
            at_once=AT_ONCE,
            go_on=lambda: self.clock() < self.until,
        )

    async def _alone(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (NotPublished, ContentionError) as error:
            self.failures.append(error)

    def _tell(self, feed: Feed, company: Company, now: datetime) -> None:
        connection = company.connections.get(feed.connection_id)
        if connection is None:
            return
        promise = self.policy.promise(feed.data_type, company, connection)
        told = feed.told(promise, connection, now)
        if told == feed:
            return
        if news := promise_news(feed, told, promise, connection, now):
            self.bus.publish([news])
            self.tally[Metric.PROMISES_BROKEN if told.broken_at else Metric.PROMISES_KEPT_AGAIN] += 1
        self.store.change_feed(feed, lambda feed: feed.told(promise, connection, now).planned(promise, connection))

    async def queue(self, decisions: list[Decision]) -> bool:
        """Do what was decided. Returns whether all of it was reached."""
        await asyncio.to_thread(self._learn, decisions)
        groups = _by_company(decisions)
        settings = SyncSettings()
        if any(len(group) > 1 for group in groups) and not self.dry_run:
            settings = await asyncio.to_thread(self.store.sync_settings)
        return await for_each(groups, partial(self._act_on, settings=settings), at_once=AT_ONCE, go_on=self._may_go_on)

    def measure(self, decisions: list[Decision]) -> None:
        """Measure how well the promises are kept, once all was done that could be."""
        self.tally.update(measure(decisions, self.waiting, self.policy, self.clock()))

    def _with_feeds_needed(self, feeds: list[Feed], companies: Mapping[str, Company]) -> list[Feed]:
        """The feeds, and all others of the companies of which the planner needs all."""
        company_ids = {
            feed.company_id
            for feed in feeds
            if (company := companies.get(feed.company_id)) and needs_all_feeds(feed, company, self.policy)
        }
        whole = [feed for company_id in sorted(company_ids) for feed in self.store.feeds(company_id)]
        return whole + [feed for feed in feeds if feed.company_id not in company_ids]

    def _learn(self, decisions: list[Decision]) -> None:
        """Keep what the feeds to be queued tell of their like, if any promise depends on it."""
        heard = [
            (decision.company.connections[feed.connection_id].platform, feed.data_type, feed.changes_per_day)
            for decision in decisions
            if decision.action is Action.QUEUE
            and (feed := decision.feed).changes_per_day
            and len(feed.syncs) >= TELLING
        ]
        if heard and self.policy.learns and not self.dry_run:
            self.store.put_fleet_rates(self.policy.fleet_rates.with_feeds(heard))

    def _may_go_on(self) -> bool:
        return not self.stopped_by and not self.codat.is_down and self.clock() < self.until

    async def _act_on(self, group: list[Decision], settings: SyncSettings) -> None:
        if len(group) > 1:
            group = await self._queue_all(group, settings)
        for decision in group:
            if self._may_go_on():
                await self._alone(self._act(decision))

    async def _queue_all(self, group: list[Decision], settings: SyncSettings) -> list[Decision]:
        """Queue what is due of a company by one call, if that queues nothing else. Returns what is left to queue."""
        company = group[0].company
        due = {decision.feed.key: decision for decision in group}
        feeds = await asyncio.to_thread(self.store.feeds, company.company_id) if settings.on_first_link else []
        together = bulk_refresh.worthwhile(settings, company, feeds, due.keys())
        if not together:
            return group
        try:
            at = await self.codat.queue_all(company.company_id)
        except (Unauthorized, AccountLimit, RateLimited) as error:
            self._stop(error)
            return []
        except CodatError as error:
            logger.warning("Not all could be queued", extra={"company_id": company.company_id, "error": str(error)})
            self.tally[Metric.QUEUEING_FAILED] += 1
            if isinstance(error, Refused):
                return group
            for decision in group:
                await asyncio.to_thread(self._note_failed_call, company, decision.feed, error)
            return []
        queued = await bulk_refresh.queued_at(at, self.codat, company.company_id, together)
        for key, operation in queued.items():
            await asyncio.to_thread(self._note_one_of_all, due[key], together[key], operation, at)
        self.tally[Metric.REFRESHES_QUEUED] += len(queued)
        return [decision for key, decision in due.items() if key not in queued]

    def _note_one_of_all(self, decision: Decision, feed: Feed, operation: PullOperation | None, at: datetime) -> None:
        if operation:
            self._note_queued(decision.company, feed, operation, _trigger(feed), self._decided(decision))
            return
        # Its dataset has no id yet: a check learns it, or that there is none.
        request = Request(at=at, trigger=_trigger(feed))
        self._change(feed, decision.company, lambda feed: feed.requested(request))

    async def _act(self, decision: Decision) -> None:
        match decision.action:
            case Action.QUEUE if self.dry_run:
                logger.info("Would queue a refresh", extra=_names(decision.feed))
            case Action.QUEUE:
                await self._queue(decision)
            case Action.CHECK:
                await asyncio.to_thread(self._make_due_for_check, decision.company)
            case Action.RESCHEDULE:
                await asyncio.to_thread(self._plan_anew, decision)
            case Action.HIDE:
                await asyncio.to_thread(self.store.change_feed, decision.feed, lambda feed: replace(feed, due_at=None))
            case Action.WAIT:
                return

    def _plan_anew(self, decision: Decision) -> None:
        decided = self._decided(decision)

        def plan(feed: Feed) -> Feed:
            # What happened to the feed meanwhile is planned for by whoever noted it.
            return replace(feed, due_at=decision.until, decided=decided) if feed == decision.feed else feed

        self.store.change_feed(decision.feed, plan)

    def _decided(self, decision: Decision) -> Decided:
        return Decided(at=self.clock(), reason=decision.reason)

    async def _queue(self, decision: Decision) -> None:
        feed, company = decision.feed, decision.company
        trigger = _trigger(feed)
        try:
            several = len(company.active_connections(feed.data_type)) > 1
            operation = await self.codat.queue(feed.company_id, feed.data_type, feed.connection_id if several else None)
            await asyncio.to_thread(self._note_queued, company, feed, operation, trigger, self._decided(decision))
            self.tally[Metric.REFRESHES_QUEUED] += 1
        except AlreadyInProgress as error:
            await self._adopt(company, feed, error)
        except UnsupportedDataType as error:
            end = End(at=error.at, state=DatasetState.NOT_SUPPORTED)
            await asyncio.to_thread(self._change, feed, company, lambda feed: feed.ended(end))
            self.tally[Metric.FEEDS_FOUND_UNSUPPORTED] += 1
        except (NotFound, Refused) as error:
            await self._note_refused(company, feed, error)
        except Unreadable as error:
            # Codat took it, though what it said of it cannot be read: a check finds out.
            logger.warning("The answer to a refresh cannot be read", extra=_names(feed) | {"error": str(error)})
            request = Request(at=error.at, trigger=trigger)
            await asyncio.to_thread(self._change, feed, company, lambda feed: feed.requested(request))
            self.tally[Metric.QUEUEING_FAILED] += 1
        except (Unauthorized, AccountLimit, RateLimited) as error:
            self._stop(error)
        except CodatError as error:
            logger.warning("A refresh could not be queued", extra=_names(feed) | {"error": str(error)})
            self.tally[Metric.QUEUEING_FAILED] += 1
            await asyncio.to_thread(self._note_failed_call, company, feed, error)

    def _note_failed_call(self, company: Company, feed: Feed, error: CodatError) -> None:
        """Record that a call failed, so that the feed is tried again after a delay and others have their turn."""
        longest = backoff.LONGEST_UNANSWERED if error.status is None else backoff.LONGEST
        waiting = feed.key in self.waiting
        self._change(feed, company, lambda feed: feed.call_failed(error.at, longest))
        if waiting:
            self.waiting.add(feed.key)

    def _stop(self, error: CodatError) -> None:
        logger.error("Codat refuses further calls", extra={"error": str(error)})
        self.stopped_by.append(error)

    async def _note_refused(self, company: Company, feed: Feed, error: NotFound | Refused) -> None:
        """Try again after a while that grows, as if a dataset had failed, and have the company checked meanwhile."""
        logger.warning("Codat refuses a refresh", extra=_names(feed) | {"error": str(error)})
        request = Request(at=error.at, trigger=Trigger.PROMISE)
        end = End(at=error.at, state=DatasetState.CANCELLED)
        await asyncio.to_thread(self._change, feed, company, lambda feed: feed.requested(request).ended(end))
        await asyncio.to_thread(self._make_due_for_check, company)
        self.tally[Metric.QUEUEING_FAILED] += 1

    async def _adopt(self, company: Company, feed: Feed, running: AlreadyInProgress) -> None:
        """Take over the dataset that already runs: Codat is asked when it was requested, and for which connection."""
        try:
            if not running.dataset_id:
                raise running
            operation = await self.codat.dataset(feed.company_id, running.dataset_id)
        except CodatError as error:
            logger.warning("A running dataset could not be looked up", extra=_names(feed) | {"error": str(error)})
            request = Request(at=running.at, trigger=Trigger.EXTERNAL, dataset_id=running.dataset_id)
            await asyncio.to_thread(self._change, feed, company, lambda feed: feed.requested(request))
            return
        if operation.connection_id != feed.connection_id:
            feed = await asyncio.to_thread(self.store.feed, feed.company_id, feed.data_type, operation.connection_id)
        await asyncio.to_thread(self._note_queued, company, feed, operation, Trigger.EXTERNAL)
        self.tally[Metric.DATASETS_ADOPTED] += 1

    def _note_queued(
        self,
        company: Company,
        feed: Feed,
        operation: PullOperation,
        trigger: Trigger,
        decided: Decided | None = None,
    ) -> None:
        """Note a dataset, on the feed first: what the feed waits for, a check or a webhook brings to its end."""
        ended_at = (operation.completed or self.clock()) if has_ended(operation.status) else None
        request = Request(at=operation.requested, trigger=trigger, dataset_id=operation.id)

        def note(feed: Feed) -> Feed:
            feed = replace(feed.requested(request), decided=decided or feed.decided)
            if ended_at:
                feed = feed.ended(End(at=ended_at, state=operation.status, dataset_id=operation.id))
            return feed

        self._change(feed, company, note)
        self.store.merge_dataset(
            Dataset(
                company_id=feed.company_id,
                dataset_id=operation.id,
                data_type=feed.data_type,
                connection_id=feed.connection_id,
                trigger=trigger,
                requested_at=operation.requested,
                states={operation.status: ended_at or operation.requested},
                ended_at=ended_at,
            )
        )

    def _change(self, feed: Feed, company: Company, change: Callable[[Feed], Feed]) -> None:
        self.waiting.discard(feed.key)
        connection = company.connections.get(feed.connection_id)
        if connection is None:
            self.store.change_feed(feed, lambda feed: replace(change(feed), due_at=None))
            return
        promise = self.policy.promise(feed.data_type, company, connection)
        self.store.change_feed(feed, lambda feed: change(feed).planned(promise, connection))

    def _make_due_for_check(self, company: Company) -> None:
        now = self.clock()
        self.store.change_company(company, lambda company: company.due_for_check(now))


def _by_company(decisions: Iterable[Decision]) -> list[list[Decision]]:
    """What is to be queued of one company together, in the order of the first of each; all else alone."""
    groups: dict[object, list[Decision]] = {}
    for decision in decisions:
        feed = decision.feed
        groups.setdefault(feed.company_id if decision.action is Action.QUEUE else feed.key, []).append(decision)
    return list(groups.values())


def _trigger(feed: Feed) -> Trigger:
    return feed.refresh_requested_by if feed.refresh_requested_at else Trigger.PROMISE


def _names(feed: Feed) -> dict[str, str]:
    return {"company_id": feed.company_id, "data_type": feed.data_type, "connection_id": feed.connection_id}
