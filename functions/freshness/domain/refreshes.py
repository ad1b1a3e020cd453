"""What to publish of refreshes that have ended."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from freshness.domain.dataset import Outcome, Trigger, outcome
from freshness.domain.facts import DatasetEnded, DatasetPolled, DatasetRequested, FeedFact, ReadEnded
from freshness.domain.feed import Feed
from freshness.domain.notifications import CompanyDataRefreshed, Notification
from freshness.domain.same_sync import SAME_END
from freshness.domain.times import sortable


def refreshes(before: Feed, after: Feed, fact: FeedFact) -> Iterator[Notification]:
    """Yield the notification of a refresh that was not known to have succeeded before the fact."""
    match fact:
        case ReadEnded() if outcome(fact.state) is Outcome.COMPLETE:
            yield from _reported(before, after, fact.at, None if fact.is_first else fact.records_modified)
        case DatasetEnded() if outcome(fact.state) is Outcome.COMPLETE:
            if before.last_dataset and before.last_dataset.dataset_id == fact.dataset_id:
                yield from _reported(before, after, before.last_dataset.at, fact.records_modified)
        case DatasetPolled() if fact.succeeded_at and before.version:
            yield from _found(before, after, fact, fact.succeeded_at)
        case DatasetRequested() if fact.ended_at and outcome(fact.state) is Outcome.COMPLETE:
            is_known = before.last_dataset is not None and before.last_dataset.dataset_id == fact.dataset_id
            if not is_known and not before.history.has_success_at(fact.ended_at, polled=True):
                yield _refreshed(after, fact.ended_at, None, fact.trigger, fact.dataset_id)
        case _:
            return


def _reported(before: Feed, after: Feed, at: datetime, modified: bool | None) -> Iterator[Notification]:
    """Yield the notification of a refresh that a webhook reported. It names no dataset: it may be the one in flight."""
    request = before.in_flight if before.in_flight and at >= before.in_flight.at else None
    if request is None and before.history.has_success_at(at, polled=False):
        return
    trigger, dataset_id = (request.trigger, request.dataset_id) if request else (Trigger.EXTERNAL, "")
    first = before.history.first_success
    if not modified and (first is None or first >= at):
        # Of a connection's first read Codat always reports false, and not every form of the webhook says that it is.
        modified = None
    notification = _refreshed(after, at, modified, trigger, dataset_id)
    # The id must not depend on what was known of the feed: another webhook may be applied at the same time.
    yield replace(notification, id=_content_id(after, at))


def _found(before: Feed, after: Feed, fact: DatasetPolled, succeeded_at: datetime) -> Iterator[Notification]:
    """Yield the notification of a refresh that a poll found, unless a webhook, which names no dataset, reported it."""
    is_latest = outcome(fact.state) is Outcome.COMPLETE
    dataset_id = (fact.dataset_id if is_latest else "") or fact.succeeded_id
    request = before.in_flight
    is_ours = request is not None and request.dataset_id in ("", dataset_id) and succeeded_at >= request.at - SAME_END
    if request and is_ours and after.in_flight is None:
        yield _refreshed(after, succeeded_at, None, request.trigger, dataset_id or request.dataset_id)
        return
    is_known = before.succeeded_at is not None and succeeded_at <= before.succeeded_at
    if not is_known and not before.history.has_success_at(succeeded_at, polled=True):
        yield _refreshed(after, succeeded_at, None, Trigger.EXTERNAL, dataset_id)


def _refreshed(
    feed: Feed, at: datetime, modified: bool | None, trigger: Trigger, dataset_id: str
) -> CompanyDataRefreshed:
    as_of = feed.as_of_read(at)
    return CompanyDataRefreshed(
        id=dataset_id or _content_id(feed, at),
        company_id=feed.company_id,
        connection_id=feed.connection_id,
        data_type=feed.data_type,
        dataset_id=dataset_id,
        refreshed_at=at,
        as_of=as_of.at,
        as_of_is_estimated=as_of.is_estimated,
        records_modified=modified,
        trigger=trigger,
    )


def _content_id(feed: Feed, at: datetime) -> str:
    return f"{feed.connection_id}/{feed.data_type}/{sortable(at)}"
