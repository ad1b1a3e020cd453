"""Queueing refreshes: taking the rows that are due, and asking Codat to read them anew."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from aws_lambda_powertools import Logger

from freshness import backoff, data_all
from freshness.budget import allowance
from freshness.codat.answers import PullOperation
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
from freshness.company import Company
from freshness.concurrency import for_each
from freshness.dataset import AskedBy, Dataset, DatasetState, has_ended
from freshness.learning import TELLING
from freshness.measure import measure
from freshness.metrics import Metric
from freshness.planner import Action, Decision, decide, needs_all_rows
from freshness.policy import Policy
from freshness.publish import Bus, NotPublished, promise_news
from freshness.row import Decided, End, Request, Row, RowKey
from freshness.store import SHARDS, ContentionError, Store
from freshness.sync_settings import SyncSettings

AT_ONCE = 10
MOST_ROWS = 2000
"""Rows that one tick looks at; the rest, due later, waits for the next."""

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
    """The part of the rows that is this tick's; others may be at work on the rest."""
    tally: Counter[Metric] = field(default_factory=Counter)
    stopped_by: list[CodatError] = field(default_factory=list)
    failures: list[NotPublished | ContentionError] = field(default_factory=list)
    """Why some rows were left as they are to the next tick, which does not keep others from their turn."""
    waiting: set[RowKey] = field(default_factory=set)
    """The rows to queue, of which nothing has become known yet."""

    async def queue_due(self, may_call: Callable[[], bool] = lambda: True) -> bool:
        """Tell of promises, and queue the rows that are due, if Codat may be called by then.

        Returns whether all that could be were reached.
        """
        due = await self.look_at_due()
        await self.tell(due)
        done = await self.queue(due) if may_call() else True
        self.measure(due)
        return done

    async def look_at_due(self) -> list[Decision]:
        """Decide about the rows that are due."""
        now = self.clock()
        rows = await asyncio.to_thread(self.store.rows_due, now, MOST_ROWS, self.shards)
        companies = await asyncio.to_thread(self.store.companies, (row.company_id for row in rows))
        paused = await asyncio.to_thread(self.store.is_paused)
        rows = await asyncio.to_thread(self._with_rows_needed, rows, companies)
        quota = await asyncio.to_thread(self.store.quota)
        allowed = allowance(self.policy.budget, quota, now) * len(self.shards) / len(SHARDS)
        decisions = decide(rows, companies, self.policy, now, paused=paused, allowance=allowed)
        self.waiting.update(decision.row.key for decision in decisions if decision.action is Action.QUEUE)
        return decisions

    async def tell(self, decisions: Iterable[Decision]) -> None:
        """Publish which promises broke, or are kept again: also while Codat takes no calls, as this makes none."""
        now = self.clock()
        await for_each(
            decisions,
            lambda decision: self._alone(asyncio.to_thread(self._tell, decision.row, decision.company, now)),
            at_once=AT_ONCE,
            go_on=lambda: self.clock() < self.until,
        )

    async def _alone(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (NotPublished, ContentionError) as error:
            self.failures.append(error)

    def _tell(self, row: Row, company: Company, now: datetime) -> None:
        connection = company.connections.get(row.connection_id)
        if connection is None:
            return
        promise = self.policy.promise(row.data_type, company, connection)
        told = row.told(promise, connection, now)
        if told == row:
            return
        if news := promise_news(row, told, promise, connection, now):
            self.bus.publish([news])
            self.tally[Metric.PROMISES_BROKEN if told.broken_at else Metric.PROMISES_KEPT_AGAIN] += 1
        self.store.change_row(row, lambda row: row.told(promise, connection, now).planned(promise, connection))

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

    def _with_rows_needed(self, rows: list[Row], companies: Mapping[str, Company]) -> list[Row]:
        """The rows, and all others of the companies of which the planner needs all."""
        company_ids = {
            row.company_id
            for row in rows
            if (company := companies.get(row.company_id)) and needs_all_rows(row, company, self.policy)
        }
        whole = [row for company_id in sorted(company_ids) for row in self.store.rows(company_id)]
        return whole + [row for row in rows if row.company_id not in company_ids]

    def _learn(self, decisions: list[Decision]) -> None:
        """Keep what the rows to be queued tell of their like, if any promise depends on it."""
        heard = [
            (decision.company.connections[row.connection_id].platform, row.data_type, row.changes_per_day)
            for decision in decisions
            if decision.action is Action.QUEUE and (row := decision.row).changes_per_day and len(row.syncs) >= TELLING
        ]
        if heard and self.policy.learns and not self.dry_run:
            self.store.put_fleet_rates(self.policy.fleet_rates.with_rows(heard))

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
        due = {decision.row.key: decision for decision in group}
        rows = await asyncio.to_thread(self.store.rows, company.company_id) if settings.on_first_link else []
        together = data_all.worthwhile(settings, company, rows, due.keys())
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
                await asyncio.to_thread(self._note_failed_call, company, decision.row, error)
            return []
        queued = await data_all.queued_at(at, self.codat, company.company_id, together)
        for key, operation in queued.items():
            await asyncio.to_thread(self._note_one_of_all, due[key], together[key], operation, at)
        self.tally[Metric.REFRESHES_QUEUED] += len(queued)
        return [decision for key, decision in due.items() if key not in queued]

    def _note_one_of_all(self, decision: Decision, row: Row, operation: PullOperation | None, at: datetime) -> None:
        if operation:
            self._note_queued(decision.company, row, operation, _asked_by(row), self._decided(decision))
            return
        # Its dataset has no id yet: a check learns it, or that there is none.
        request = Request(at=at, asked_by=_asked_by(row))
        self._change(row, decision.company, lambda row: row.requested(request))

    async def _act(self, decision: Decision) -> None:
        match decision.action:
            case Action.QUEUE if self.dry_run:
                logger.info("Would queue a refresh", extra=_names(decision.row))
            case Action.QUEUE:
                await self._queue(decision)
            case Action.CHECK:
                await asyncio.to_thread(self._make_due_for_check, decision.company)
            case Action.PLAN_ANEW:
                await asyncio.to_thread(self._plan_anew, decision)
            case Action.LEAVE:
                await asyncio.to_thread(self.store.change_row, decision.row, lambda row: replace(row, due_at=None))
            case Action.WAIT:
                return

    def _plan_anew(self, decision: Decision) -> None:
        decided = self._decided(decision)

        def plan(row: Row) -> Row:
            # What happened to the row meanwhile is planned for by whoever noted it.
            return replace(row, due_at=decision.until, decided=decided) if row == decision.row else row

        self.store.change_row(decision.row, plan)

    def _decided(self, decision: Decision) -> Decided:
        return Decided(at=self.clock(), reason=decision.reason)

    async def _queue(self, decision: Decision) -> None:
        row, company = decision.row, decision.company
        asked_by = _asked_by(row)
        try:
            several = len(company.feeds(row.data_type)) > 1
            operation = await self.codat.queue(row.company_id, row.data_type, row.connection_id if several else None)
            await asyncio.to_thread(self._note_queued, company, row, operation, asked_by, self._decided(decision))
            self.tally[Metric.REFRESHES_QUEUED] += 1
        except AlreadyInProgress as error:
            await self._adopt(company, row, error)
        except UnsupportedDataType as error:
            end = End(at=error.at, state=DatasetState.NOT_SUPPORTED)
            await asyncio.to_thread(self._change, row, company, lambda row: row.ended(end))
            self.tally[Metric.ROWS_FOUND_UNSUPPORTED] += 1
        except (NotFound, Refused) as error:
            await self._note_refused(company, row, error)
        except Unreadable as error:
            # Codat took it, though what it said of it cannot be read: a check finds out.
            logger.warning("The answer to a refresh cannot be read", extra=_names(row) | {"error": str(error)})
            request = Request(at=error.at, asked_by=asked_by)
            await asyncio.to_thread(self._change, row, company, lambda row: row.requested(request))
            self.tally[Metric.QUEUEING_FAILED] += 1
        except (Unauthorized, AccountLimit, RateLimited) as error:
            self._stop(error)
        except CodatError as error:
            logger.warning("A refresh could not be queued", extra=_names(row) | {"error": str(error)})
            self.tally[Metric.QUEUEING_FAILED] += 1
            await asyncio.to_thread(self._note_failed_call, company, row, error)

    def _note_failed_call(self, company: Company, row: Row, error: CodatError) -> None:
        """Record that a call failed, so that the row is tried again after a delay and others have their turn."""
        longest = backoff.LONGEST_UNANSWERED if error.status is None else backoff.LONGEST
        waiting = row.key in self.waiting
        self._change(row, company, lambda row: row.call_failed(error.at, longest))
        if waiting:
            self.waiting.add(row.key)

    def _stop(self, error: CodatError) -> None:
        logger.error("Codat refuses further calls", extra={"error": str(error)})
        self.stopped_by.append(error)

    async def _note_refused(self, company: Company, row: Row, error: NotFound | Refused) -> None:
        """Try again after a while that grows, as if a dataset had failed, and have the company checked meanwhile."""
        logger.warning("Codat refuses a refresh", extra=_names(row) | {"error": str(error)})
        request = Request(at=error.at, asked_by=AskedBy.PROMISE)
        end = End(at=error.at, state=DatasetState.CANCELLED)
        await asyncio.to_thread(self._change, row, company, lambda row: row.requested(request).ended(end))
        await asyncio.to_thread(self._make_due_for_check, company)
        self.tally[Metric.QUEUEING_FAILED] += 1

    async def _adopt(self, company: Company, row: Row, running: AlreadyInProgress) -> None:
        """Take over the dataset that already runs: Codat is asked when it was requested, and for which connection."""
        try:
            if not running.dataset_id:
                raise running
            operation = await self.codat.dataset(row.company_id, running.dataset_id)
        except CodatError as error:
            logger.warning("A running dataset could not be looked up", extra=_names(row) | {"error": str(error)})
            request = Request(at=running.at, asked_by=AskedBy.OTHERS, dataset_id=running.dataset_id)
            await asyncio.to_thread(self._change, row, company, lambda row: row.requested(request))
            return
        if operation.connection_id != row.connection_id:
            row = await asyncio.to_thread(self.store.row, row.company_id, row.data_type, operation.connection_id)
        await asyncio.to_thread(self._note_queued, company, row, operation, AskedBy.OTHERS)
        self.tally[Metric.DATASETS_ADOPTED] += 1

    def _note_queued(
        self,
        company: Company,
        row: Row,
        operation: PullOperation,
        asked_by: AskedBy,
        decided: Decided | None = None,
    ) -> None:
        """Note a dataset, on the row first: what the row waits for, a check or a webhook brings to its end."""
        ended_at = (operation.completed or self.clock()) if has_ended(operation.status) else None
        request = Request(at=operation.requested, asked_by=asked_by, dataset_id=operation.id)

        def note(row: Row) -> Row:
            row = replace(row.requested(request), decided=decided or row.decided)
            if ended_at:
                row = row.ended(End(at=ended_at, state=operation.status, dataset_id=operation.id))
            return row

        self._change(row, company, note)
        self.store.merge_dataset(
            Dataset(
                company_id=row.company_id,
                dataset_id=operation.id,
                data_type=row.data_type,
                connection_id=row.connection_id,
                asked_by=asked_by,
                requested_at=operation.requested,
                states={operation.status: ended_at or operation.requested},
                ended_at=ended_at,
            )
        )

    def _change(self, row: Row, company: Company, change: Callable[[Row], Row]) -> None:
        self.waiting.discard(row.key)
        connection = company.connections.get(row.connection_id)
        if connection is None:
            self.store.change_row(row, lambda row: replace(change(row), due_at=None))
            return
        promise = self.policy.promise(row.data_type, company, connection)
        self.store.change_row(row, lambda row: change(row).planned(promise, connection))

    def _make_due_for_check(self, company: Company) -> None:
        now = self.clock()
        self.store.change_company(company, lambda company: company.due_for_check(now))


def _by_company(decisions: Iterable[Decision]) -> list[list[Decision]]:
    """What is to be queued of one company together, in the order of the first of each; all else alone."""
    groups: dict[object, list[Decision]] = {}
    for decision in decisions:
        row = decision.row
        groups.setdefault(row.company_id if decision.action is Action.QUEUE else row.key, []).append(decision)
    return list(groups.values())


def _asked_by(row: Row) -> AskedBy:
    return row.asked_for_by if row.asked_for_at else AskedBy.PROMISE


def _names(row: Row) -> dict[str, str]:
    return {"company_id": row.company_id, "data_type": row.data_type, "connection_id": row.connection_id}
