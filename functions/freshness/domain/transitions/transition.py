"""What follows from a fact about a feed: the new feed, the records of its datasets, and what to publish.

Nothing that follows from a fact is computed anywhere else, and nothing here is written or published:
`freshness.app.record` does both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from freshness.domain.companies.company import Connection
from freshness.domain.datasets.dataset import OUTCOMES, Dataset, DatasetState, Outcome, Trigger, has_ended
from freshness.domain.datasets.sync_history import SAME_END
from freshness.domain.feeds.facts import (
    DatasetEnded,
    DatasetPolled,
    DatasetRequested,
    DataTypeUnsupported,
    DataWanted,
    DataWritten,
    Deferred,
    FeedFact,
    MissExpected,
    PromiseReviewed,
    QueueingFailed,
    ReadEnded,
    RefreshRequested,
    Rescheduled,
    RunInterrupted,
    SyncDurationLearned,
)
from freshness.domain.feeds.feed import Feed, is_known_dataset
from freshness.domain.feeds.feed_values import End, Request, State, Unanswered
from freshness.domain.feeds.reconcile import reconcile
from freshness.domain.feeds.schedule import breaks_at, is_break_unknown, reschedule, with_due_at
from freshness.domain.promises.promise import Promise
from freshness.domain.slo.breach import BreachTime, breach_times
from freshness.domain.times import CLOCKS_DIFFER
from freshness.domain.transitions.notifications import (
    DeadlineAtRisk,
    Notification,
    PromiseBroken,
    PromiseKeptAgain,
    SourceQuiet,
)
from freshness.domain.transitions.refreshes import refreshes

SIGNIFICANT_CHANGE = 0.25
"""A change of the platform's usual sync time by a smaller share is not worth a write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The result of a fact about a feed: the feed after it, and what to record and publish."""

    feed: Feed
    datasets: tuple[Dataset, ...] = ()
    """Records of datasets that have ended."""
    running: Dataset | None = None
    """The record of the dataset that runs now, if it may not be recorded yet."""
    notifications: tuple[Notification, ...] = ()
    breach_times: tuple[BreachTime, ...] = ()
    """Times of breach that have ended."""


def transitions(
    feed: Feed, facts: Iterable[FeedFact], promise: Promise | None, connection: Connection | None, now: datetime
) -> Transition:
    """Return what follows from several facts about a feed, one after another."""
    total = Transition(feed=feed)
    for fact in facts:
        step = transition(total.feed, fact, promise, connection, now)
        total = Transition(
            feed=step.feed,
            datasets=total.datasets + step.datasets,
            notifications=total.notifications + step.notifications,
            breach_times=total.breach_times + step.breach_times,
        )
    return replace(total, running=_running_dataset(feed, total.feed))


def transition(
    feed: Feed, fact: FeedFact, promise: Promise | None, connection: Connection | None, now: datetime
) -> Transition:
    """Return what follows from a fact about a feed.

    `promise` and `connection` are `None` if the connection is not known yet. The feed is then due only once a check of
    its company has learned the connection.
    """
    if isinstance(fact, ReadEnded):
        attributed = _attributed(feed, fact)
        if attributed is None:
            return Transition(feed=feed)
        fact = attributed
    after = _with_fact(feed, fact, connection).without_satisfied()
    datasets = tuple(_ended_datasets(feed, after, fact, now))
    notifications: list[Notification] = list(refreshes(feed, after, fact, connection))
    if promise is None or connection is None:
        return Transition(feed=replace(after, due_at=None), datasets=datasets, notifications=tuple(notifications))
    if isinstance(fact, MissExpected) and after.miss_expected_at != feed.miss_expected_at:
        state = after.state(promise, connection, now)
        at_risk = DeadlineAtRisk.of_feed(
            after,
            connection,
            fact.deadline_at,
            state=state,
            reason=after.codat_says(connection, state),
            deadline=fact.deadline,
            deadline_at=fact.deadline_at,
            expected_at=fact.expected_at,
        )
        notifications.append(at_risk)
    breaks = breaks_at(after, promise, connection)
    after, of_promise = _with_promise(after, fact, breaks, promise, connection, now)
    after, of_silence = _with_silence(feed, after, fact, promise, connection)
    notifications += filter(None, (of_promise, of_silence))
    after, ended = breach_times(feed, after, breaks, promise, connection, now)
    if isinstance(fact, Deferred) and feed.version == fact.version:
        after = replace(after, due_at=fact.until, decided=fact.decided)
    elif after.history != feed.history or isinstance(fact, Rescheduled | SyncDurationLearned):
        after = reschedule(after, promise, connection)
    else:
        after = with_due_at(after, promise, connection)
    return Transition(feed=after, datasets=datasets, notifications=tuple(notifications), breach_times=ended)


def _attributed(feed: Feed, fact: ReadEnded) -> ReadEnded | None:
    """Return a webhook's end of a read, dated to the read's known end; `None` if only a poll can tell which read it is.

    A webhook is dated up to `SAME_END` after its read ended, and few name the dataset. If a read was requested in that
    time, the webhook may be about an earlier one. In doubt it ends the new one, unless callers wait for that: then
    Codat is polled instead.
    """
    request = feed.last_dataset
    if request is None or OUTCOMES[fact.state] is Outcome.IN_FLIGHT:
        return fact
    succeeded = OUTCOMES[fact.state] is Outcome.COMPLETE
    known_at = feed.history.reported_again(fact.at, succeeded=succeeded, requested_at=request.at)
    is_named = bool(fact.dataset_id and request.dataset_id)
    is_requested = is_named and fact.dataset_id == request.dataset_id
    if known_at is not None and not (is_requested and known_at < request.at):
        return replace(fact, at=known_at)
    if is_requested or not request.at <= fact.at <= request.at + SAME_END:
        return fact
    if is_named:
        return replace(fact, at=request.at - timedelta.resolution)
    return None if request.trigger is Trigger.ON_DEMAND else fact


def _with_fact(feed: Feed, fact: FeedFact, connection: Connection | None) -> Feed:  # noqa: C901 - a case for each fact
    match fact:
        case ReadEnded():
            if OUTCOMES[fact.state] is Outcome.IN_FLIGHT:
                return feed
            end = End(at=fact.at, state=fact.state, reason=fact.reason)
            return feed.ended(end, None if fact.is_first else fact.records_modified)
        case DatasetEnded():
            if feed.last_dataset is None or feed.last_dataset.dataset_id != fact.dataset_id:
                return feed
            # When it ended is unknown: no sooner than it was requested.
            return feed.ended(End(at=feed.last_dataset.at, state=fact.state))
        case DataWritten():
            return feed.written(fact.at)
        case DatasetPolled():
            return reconcile(feed, fact, connection.status_at if connection else fact.at)
        case DatasetRequested():
            return _with_request(feed, fact)
        case QueueingFailed():
            return feed.call_failed(fact.at, fact.longest, fact.unanswered)
        case RunInterrupted():
            return _with_run_interrupted(feed, fact.at)
        case DataTypeUnsupported():
            return feed.ended(End(at=fact.at, state=DatasetState.NOT_SUPPORTED))
        case RefreshRequested():
            return feed.with_refresh_requested(fact.at, fact.trigger)
        case DataWanted():
            return feed.with_wanted(fact.wanted)
        case SyncDurationLearned():
            return _with_platform_sync_time(feed, fact)
        case MissExpected() if fact.succeeded_at == feed.succeeded_at:
            return replace(feed, miss_expected_at=fact.deadline_at)
        case Deferred() | MissExpected() | PromiseReviewed() | Rescheduled():
            return feed


def _with_request(before: Feed, fact: DatasetRequested) -> Feed:
    # A call for callers was made after they asked for it, whatever the clocks say.
    serves = fact.serves if fact.serves and fact.at < fact.serves <= fact.at + CLOCKS_DIFFER else None
    request = Request(at=fact.at, trigger=fact.trigger, dataset_id=fact.dataset_id, serves=serves)
    feed = before.requested(request)
    feed = replace(feed, decided=fact.decided or feed.decided)
    if fact.called_at and before.refresh_requested_at and before.refresh_requested_at > fact.called_at:
        feed = replace(
            feed,
            refresh_requested_at=before.refresh_requested_at,
            refresh_requested_by=before.refresh_requested_by,
        )
    if fact.ended_at:
        return feed.ended(End(at=fact.ended_at, state=fact.state, dataset_id=fact.dataset_id, reason=fact.reason))
    is_latest = feed.in_flight is not None and feed.in_flight.dataset_id == fact.dataset_id
    return replace(feed, running_state=fact.state) if is_latest and not feed.running_state else feed


def _with_run_interrupted(feed: Feed, began_at: datetime) -> Feed:
    is_requested_since = feed.last_dataset is not None and feed.last_dataset.at > began_at + CLOCKS_DIFFER
    if feed.in_flight or feed.unanswered or is_requested_since:
        return feed
    return replace(feed, unanswered=Unanswered(at=began_at))


def _with_platform_sync_time(feed: Feed, fact: SyncDurationLearned) -> Feed:
    known = feed.platform_sync_time
    if fact.duration is None or feed.history.durations:
        return feed
    if known and abs(fact.duration - known) <= SIGNIFICANT_CHANGE * known:
        return feed
    return replace(feed, platform_sync_time=fact.duration)


def _with_promise(
    feed: Feed, fact: FeedFact, at: datetime | None, promise: Promise, connection: Connection, now: datetime
) -> tuple[Feed, Notification | None]:
    """Return the feed with `broken_at`, and the notification about its promise, if any. The promise breaks at `at`.

    A promise breaks as time passes: the next tick notices. It is kept again because of a new copy.
    """
    if at is None:
        is_read = connection.suffices(feed.succeeded_at)
        kept = _kept_again(feed, feed.broken_at, connection) if feed.broken_at and is_read else None
        return replace(feed, broken_at=None), kept
    if at <= now:
        is_unchanged = at == feed.broken_at or not isinstance(fact, PromiseReviewed)
        if is_unchanged or is_break_unknown(feed, at, now):
            return feed, None
        is_new = feed.broken_at is None
        feed = replace(feed, broken_at=at)
        return feed, _broken(feed, at, connection, feed.state(promise, connection, now)) if is_new else None
    if feed.broken_at is None or feed.succeeded_at is None:
        return feed, None
    return replace(feed, broken_at=None), _kept_again(feed, feed.broken_at, connection)


def _broken(feed: Feed, at: datetime, connection: Connection, state: State) -> PromiseBroken:
    return PromiseBroken.of_feed(
        feed,
        connection,
        at,
        broken_at=at,
        state=state,
        reason=feed.codat_says(connection, state),
        link_url=connection.link_url if state is State.BLOCKED else "",
        link_url_read_at=connection.link_url_known_at if state is State.BLOCKED else None,
    )


def _kept_again(feed: Feed, broken_at: datetime, connection: Connection) -> PromiseKeptAgain:
    return PromiseKeptAgain.of_feed(feed, connection, broken_at, broken_at=broken_at)


def _with_silence(
    before: Feed, after: Feed, fact: FeedFact, promise: Promise, connection: Connection
) -> tuple[Feed, Notification | None]:
    """Return the feed with `quiet_since`, and what to publish if its source has become quiet.

    Only a read shows that nothing changed: time without a read makes no source quiet.
    """
    if after.history == before.history and not isinstance(fact, Rescheduled):
        return after, None
    since = after.history.unchanged_since if promise.quiet_after else None
    if not (promise.quiet_after and since and after.succeeded_at and after.succeeded_at - since >= promise.quiet_after):
        since = None
    after = replace(after, quiet_since=since)
    if since is None or before.quiet_since:
        return after, None
    return after, SourceQuiet.of_feed(after, connection, since, quiet_since=since)


def _ended_datasets(before: Feed, after: Feed, fact: FeedFact, now: datetime) -> Iterator[Dataset]:
    """Yield the records of datasets whose end follows from a fact. The records of one dataset are merged."""
    known = tuple(_known_ends(before, after, fact, now))
    yield from known
    running, runs = before.in_flight, after.in_flight.dataset_id if after.in_flight else ""
    if running and running.dataset_id not in {runs, *(each.dataset_id for each in known)}:
        # Codat runs one dataset of a feed at a time: a later one shows that this one ended, but not how.
        at = fact.at if isinstance(fact, DatasetPolled | DatasetRequested) else now
        yield from _record(after, running, DatasetState.CANCELLED, max(at, running.at))


def _known_ends(before: Feed, after: Feed, fact: FeedFact, now: datetime) -> Iterator[Dataset]:
    """Yield the records of the datasets whose end a fact reports."""
    request = before.last_dataset
    match fact:
        case ReadEnded() if request and fact.at >= request.at and OUTCOMES[fact.state] is not Outcome.IN_FLIGHT:
            yield from _record(before, request, fact.state, fact.at, read=fact)
        case DatasetEnded() if request and request.dataset_id == fact.dataset_id:
            yield from _record(before, request, fact.state, max(now, request.at), modified=fact.records_modified)
        case DatasetRequested() if fact.ended_at and after.last_dataset:
            yield from _record(after, after.last_dataset, fact.state, fact.ended_at, reason=fact.reason)
        case DatasetRequested() if _ended_before_it_was_recorded(before, after, fact):
            yield from _record_of_known_end(after)
        case DatasetPolled() if before.in_flight:
            yield from _polled_end(before.in_flight, after, fact)
        case DatasetPolled() if request and before.end and after.end and after.end.reason != before.end.reason:
            # A webhook reported that the dataset failed, and the poll says why.
            if fact.dataset_id == request.dataset_id and fact.state == before.end.state:
                yield from _record(after, request, fact.state, before.end.at, reason=after.end.reason)
        case _:
            return


def _ended_before_it_was_recorded(before: Feed, after: Feed, fact: DatasetRequested) -> bool:
    is_new = after.last_dataset != before.last_dataset and after.last_dataset is not None
    return is_new and after.in_flight is None and is_known_dataset(after, fact.dataset_id)


def _record_of_known_end(feed: Feed) -> Iterator[Dataset]:
    """Yield the record of a dataset that ended before its request was recorded, unless it is unknown how it ended."""
    first = feed.history.first_after(feed.last_dataset.at) if feed.last_dataset else None
    if feed.last_dataset is None or feed.end is None or first is None:
        return
    if first.succeeded or feed.end.at == first.ended_at:
        state = DatasetState.COMPLETE if first.succeeded else feed.end.state
        yield from _record(feed, feed.last_dataset, state, first.ended_at, modified=first.records_modified)


def _polled_end(request: Request, after: Feed, fact: DatasetPolled) -> Iterator[Dataset]:
    request = replace(request, dataset_id=request.dataset_id or fact.dataset_id)
    still_runs = after.in_flight is not None and after.in_flight.dataset_id == request.dataset_id
    if fact.dataset_id == request.dataset_id and has_ended(fact.state) and not still_runs:
        completed_at = fact.succeeded_at if OUTCOMES[fact.state] is Outcome.COMPLETE else None
        ended_at = max(fact.ended_at or completed_at or fact.at, request.at)
        yield from _record(after, request, fact.state, ended_at, reason=fact.reason or "")


def _record(
    feed: Feed,
    request: Request,
    state: str,
    at: datetime,
    *,
    modified: bool | None = None,
    reason: str = "",
    read: ReadEnded | None = None,
) -> Iterator[Dataset]:
    """Yield the record of a requested dataset, if its id is known. `read` is the webhook that reported its end."""
    if request.dataset_id:
        yield replace(
            _dataset(feed, request, state),
            ended_at=at,
            records_modified=read.records_modified if read else modified,
            issues=read.issues if read else (),
            reason=reason,
            modified_from=read.modified_from if read else None,
        )


def _running_dataset(before: Feed, after: Feed) -> Dataset | None:
    """Return the record of the dataset in flight when its id becomes known, and each time it is seen to run.

    The run that learned its id may have been killed before it recorded the dataset.
    """
    request, known = after.in_flight, before.in_flight
    if request is None or not request.dataset_id:
        return None
    is_known = known is not None and known.dataset_id == request.dataset_id
    if is_known and before.seen_running_at == after.seen_running_at:
        return None
    return _dataset(after, request, after.running_state or DatasetState.QUEUED)


def _dataset(feed: Feed, request: Request, state: str) -> Dataset:
    return Dataset(
        company_id=feed.company_id,
        dataset_id=request.dataset_id,
        data_type=feed.data_type,
        connection_id=feed.connection_id,
        trigger=request.trigger,
        requested_at=request.at,
        state=state,
    )


def abandoned(feed: Feed, at: datetime) -> tuple[Dataset, ...]:
    """Return the record of the dataset in flight of a deleted feed; empty if none is in flight."""
    if feed.in_flight is None:
        return ()
    return tuple(_record(feed, feed.in_flight, DatasetState.CANCELLED, max(at, feed.in_flight.at)))
