"""Queueing refreshes at Codat, a call for each feed, and recording its responses."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from aws_lambda_powertools import Logger

from freshness.app.company_turns import longest_wait
from freshness.app.services import Services
from freshness.aws.dynamodb.control import Control, Lease
from freshness.aws.metrics import Metric
from freshness.codat.client import Codat
from freshness.codat.errors import (
    AllRefused,
    AlreadyInProgress,
    CodatError,
    NotFound,
    Refused,
    Temporary,
    Unreadable,
    UnsupportedDataType,
)
from freshness.codat.models import PullOperation
from freshness.domain import backoff
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CheckNeeded
from freshness.domain.datasets.dataset import Trigger, has_ended
from freshness.domain.feeds.facts import DatasetRequested, DataTypeUnsupported, FeedFact, QueueingFailed
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.feeds.feed_values import Decided, Unanswered
from freshness.domain.feeds.schedule import due_at
from freshness.domain.times import sortable
from freshness.planning.decision import Decision

_KEYS = UUID("5b0f5a2e-9d5c-4b0e-8a53-4a8f0c1f6f0e")
"""The namespace of idempotency keys."""

LONGEST_CALL = timedelta(seconds=60)
"""How long the lease of a feed lasts that is not given back."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queueing:
    """Queues what was decided. `stopped_by` has the errors after which no further call is made.

    `unqueued` are the feeds that are still to be queued. `recorded` are the feeds that callers wait for, as they were
    last recorded.
    """

    services: Services
    codat: Codat
    stopped_by: list[CodatError] = field(default_factory=list)
    unqueued: set[FeedKey] = field(default_factory=set)
    recorded: dict[FeedKey, Feed] = field(default_factory=dict)

    async def queue(self, decision: Decision, lease: Lease | None = None) -> None:
        """Queue a refresh of one feed, and record the response.

        A feed that callers wait for is queued under a lease, which is then given back, and only if it is still due:
        many functions may try at the same moment. If it was read under its `lease`, no other has queued it since.
        """
        feed = decision.feed
        if feed.wanted is None:
            await self._queue(decision)
            return
        self.unqueued.discard(feed.key)
        held = lease or await asyncio.to_thread(take_lease, self.services.tables.control, feed, self.services.clock())
        if held is None:
            return
        try:
            if lease is None:
                feed = await asyncio.to_thread(self.services.tables.feeds.get, *feed.key, consistent=True)
            if feed.wanted and not feed.in_flight and self._is_due(feed, decision.company, self.services.clock()):
                await self._queue(decision._replace(feed=feed))
        finally:
            await asyncio.to_thread(held.release)

    def _is_due(self, feed: Feed, company: Company, now: datetime) -> bool:
        connection = company.connections.get(feed.connection_id)
        if connection is None:
            return False
        promise = self.services.policy.promise(feed.data_type, company, connection)
        due = due_at(feed, promise, connection)
        return due is not None and due <= now

    async def _queue(self, decision: Decision) -> None:
        feed, company = decision.feed, decision.company
        key, at = idempotency_key(feed), self.services.clock()
        try:
            operation = await self.codat.queue(*feed.key, key, on_demand=feed.wanted is not None)
        except AlreadyInProgress as error:
            await self._record_running(company, feed, error)
        except UnsupportedDataType as error:
            await self.record(feed, company, DataTypeUnsupported(at=error.at))
            self.services.counts.count(Metric.FEEDS_FOUND_UNSUPPORTED)
        except Unreadable as error:
            # Codat accepted the call, though its response cannot be read: a check finds the dataset.
            logger.warning("The response to a refresh cannot be read", extra=log_context(feed) | {"error": str(error)})
            # Where the call was repeated, its first try may have queued the dataset.
            requested_at = min(_first_sent(feed, key, at), error.at)
            await self.record(feed, company, DatasetRequested(at=requested_at, trigger=trigger_of(feed)))
            self.services.counts.count(Metric.QUEUEING_FAILED)
        except AllRefused as error:
            self.stop(error)
        except CodatError as error:
            await self._record_failure(company, feed, error, _unanswered(feed, error, key, at))
            if isinstance(error, NotFound | Refused):
                await asyncio.to_thread(self.services.recorder.record_company, company, CheckNeeded())
        else:
            called_at = feed.unanswered.at if feed.unanswered else None
            # Codat may return what an earlier call with the same key queued.
            is_new = self.codat.ahead is not None and operation.requested >= at + self.codat.ahead
            serves = feed.wanted.not_before if feed.wanted and is_new else None
            await self.record_queued(company, feed, operation, decision, called_at, serves)

    async def record(self, feed: Feed, company: Company, *facts: FeedFact) -> Feed:
        """Record facts that follow from a call, and return the feed as it is now."""
        self.unqueued.discard(feed.key)
        recorded = await asyncio.to_thread(self.services.recorder.record_feed, feed, company, *facts)
        if feed.wanted:
            self.recorded[feed.key] = recorded.feed
        self.services.in_flight.remember_queued(recorded.feed, company, self.services.policy, self.services.clock())
        return recorded.feed

    async def record_queued(
        self,
        company: Company,
        feed: Feed,
        operation: PullOperation,
        decision: Decision,
        called_at: datetime | None = None,
        serves: datetime | None = None,
    ) -> None:
        """Record a dataset under the connection that Codat's response names.

        `called_at` is the earliest time, by our own clock, at which an earlier call may have queued it. `serves` is as
        in `DatasetRequested`.
        """
        if called_at:
            called_at = max(called_at, operation.requested)
        if operation.connection_id != feed.connection_id:
            self.unqueued.discard(feed.key)
            feed = Feed(company_id=feed.company_id, data_type=feed.data_type, connection_id=operation.connection_id)
        decided = Decided(at=self.services.clock(), reason=decision.reason)
        fact = operation.requested_by(trigger_of(decision.feed), decided, called_at, serves)
        await self.record(feed, company, fact)
        self.services.counts.count(Metric.REFRESHES_QUEUED)

    async def _record_running(self, company: Company, feed: Feed, running: AlreadyInProgress) -> None:
        """Ask Codat about the dataset that runs already, and record it.

        If it belongs to another connection, or was recorded as ended, the feed is tried again later.
        """
        adopted = await self._running(feed, running)
        if adopted is None:
            fact = DatasetRequested(at=running.at, trigger=Trigger.EXTERNAL, dataset_id=running.dataset_id)
            await self.record(feed, company, fact)
            return
        self.services.counts.count(Metric.DATASETS_ADOPTED)
        retry = QueueingFailed(at=running.at, longest=backoff.LONGEST_RUNNING)
        if adopted.connection_id != feed.connection_id:
            other = Feed(company_id=feed.company_id, data_type=feed.data_type, connection_id=adopted.connection_id)
            await self.record(other, company, adopted.requested_by(Trigger.EXTERNAL))
            await self.record(feed, company, retry)
            return
        recorded = await self.record(feed, company, adopted.requested_by(Trigger.EXTERNAL))
        if recorded.in_flight is None and not has_ended(adopted.status):
            await self.record(recorded, company, retry)

    async def _running(self, feed: Feed, running: AlreadyInProgress) -> PullOperation | None:
        if not running.dataset_id:
            return None
        try:
            return await self.codat.dataset(feed.company_id, running.dataset_id)
        except CodatError as error:
            logger.warning("A running dataset could not be read", extra=log_context(feed) | {"error": str(error)})
            return None

    async def _record_failure(
        self, company: Company, feed: Feed, error: CodatError, unanswered: Unanswered | None
    ) -> None:
        """Record that a call failed, so that the feed is tried again after a delay and others have their turn.

        `unanswered` is the call that queues the feed, if it may have taken effect.
        """
        logger.warning("A refresh could not be queued", extra=log_context(feed) | {"error": str(error)})
        self.services.counts.count(Metric.QUEUEING_FAILED)
        longest = longest_wait(error, self.codat)
        is_unqueued = feed.key in self.unqueued
        failed = QueueingFailed(at=error.at, longest=longest, unanswered=unanswered)
        await self.record(feed, company, failed)
        if is_unqueued and not isinstance(error, NotFound | Refused):
            self.unqueued.add(feed.key)

    async def record_unknown(self, company: Company, decisions: Iterable[Decision], error: CodatError) -> None:
        """Record that Codat could not say what was queued, or stop if Codat refuses further calls."""
        if isinstance(error, AllRefused):
            self.stop(error)
            return
        for decision in decisions:
            await self._record_failure(company, decision.feed, error, decision.feed.unanswered)

    def stop(self, error: CodatError) -> None:
        """Stop making calls, because Codat refuses them."""
        logger.error("Codat refuses further calls", extra={"error": str(error)})
        self.stopped_by.append(error)


def take_lease(control: Control, feed: Feed, now: datetime) -> Lease | None:
    """Take the lease under which a feed that callers wait for is queued; `None` if another function holds it."""
    return control.take(f"queue {'/'.join(feed.key)}", now + LONGEST_CALL, now)


def trigger_of(feed: Feed) -> Trigger:
    """Return the trigger of a feed's next refresh: whoever asked for it, a waiting caller, or the promise."""
    if feed.refresh_requested_at:
        return feed.refresh_requested_by
    return Trigger.ON_DEMAND if feed.wanted else Trigger.PROMISE


def _first_sent(feed: Feed, key: UUID, at: datetime) -> datetime:
    """Return when a call was first sent: `at`, or earlier if it repeats an unanswered call."""
    known = feed.unanswered
    return known.at if known and known.key == str(key) else at


def _unanswered(feed: Feed, error: CodatError, key: UUID, at: datetime) -> Unanswered | None:
    """Return the first try of a failed call, if it may have taken effect; otherwise `None`."""
    if not isinstance(error, Temporary) or not error.is_unanswered:
        return None
    return Unanswered(at=_first_sent(feed, key, at), key=str(key))


def log_context(feed: Feed) -> dict[str, str]:
    """Return the ids that identify a feed in the log."""
    return {"company_id": feed.company_id, "data_type": feed.data_type, "connection_id": feed.connection_id}


def idempotency_key(feed: Feed) -> UUID:
    """Return the idempotency key of the call that queues a refresh of a feed.

    It is computed from the values that the decision was based on. So if a response was not recorded, for example after
    a crash, the repeated call has the same key. Any recorded response changes the key.
    """
    if feed.unanswered and feed.unanswered.key:
        return UUID(feed.unanswered.key)
    request, end = feed.last_dataset, feed.end
    return key_of(
        *feed.key,
        *((text_of(request.at), request.dataset_id) if request else ("", "")),
        *((text_of(end.at), end.state, end.dataset_id) if end else ("", "", "")),
        text_of(feed.refresh_requested_at),
        str(feed.failed_calls),
    )


def key_of(*parts: str) -> UUID:
    """Return the key that is computed from these parts."""
    return uuid5(_KEYS, "\n".join(parts))


def text_of(at: datetime | None) -> str:
    """Return a time as a part of a key; empty for `None`."""
    return sortable(at) if at else ""
