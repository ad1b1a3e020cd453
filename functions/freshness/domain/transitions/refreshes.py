"""What to publish of refreshes that have ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from freshness.domain.companies.company import Connection
from freshness.domain.datasets.dataset import OUTCOMES, Outcome, Trigger
from freshness.domain.datasets.sync_history import SAME_END
from freshness.domain.feeds.facts import DatasetEnded, DatasetPolled, DatasetRequested, FeedFact, ReadEnded
from freshness.domain.feeds.feed import Feed
from freshness.domain.transitions.notifications import CompanyDataRefreshed


@dataclass(frozen=True, slots=True)
class _Refresh:
    """A refresh that succeeded. What is unknown of it is empty or `None`."""

    at: datetime
    trigger: Trigger
    dataset_id: str
    modified: bool | None = None
    is_reported: bool = False
    """Whether a webhook reported it."""
    modified_from: datetime | None = None


def refreshes(
    before: Feed, after: Feed, fact: FeedFact, connection: Connection | None
) -> Iterator[CompanyDataRefreshed]:
    """Yield the notification of a refresh whose success was not known before the fact.

    `connection` is the feed's, or `None` if it is not known yet.
    """
    for refresh in _refreshes(before, after, fact):
        as_of = after.as_of_read(refresh.at)
        # A webhook's event id must not depend on what was known of the feed: two webhooks may be applied at once.
        is_found = refresh.dataset_id and not refresh.is_reported
        by_dataset: dict[str, Any] = {"id": refresh.dataset_id} if is_found else {}
        yield CompanyDataRefreshed.of_feed(
            after,
            connection,
            refresh.at,
            dataset_id=refresh.dataset_id,
            refreshed_at=refresh.at,
            as_of=as_of.at,
            as_of_is_estimated=as_of.is_estimated,
            records_modified=refresh.modified,
            modified_from_date=refresh.modified_from,
            trigger=refresh.trigger,
            **by_dataset,
        )


def _refreshes(before: Feed, after: Feed, fact: FeedFact) -> Iterator[_Refresh]:
    match fact:
        case ReadEnded() if OUTCOMES[fact.state] is Outcome.COMPLETE:
            modified = None if fact.is_first else fact.records_modified
            yield from _reported(before, fact.at, modified, fact.modified_from, fact.dataset_id)
        case DatasetEnded() if OUTCOMES[fact.state] is Outcome.COMPLETE:
            if before.last_dataset and before.last_dataset.dataset_id == fact.dataset_id:
                yield from _reported(before, before.last_dataset.at, fact.records_modified)
        case DatasetPolled() if fact.succeeded_at and before.version:
            yield from _found(before, after, fact, fact.succeeded_at)
        case DatasetRequested() if fact.ended_at and OUTCOMES[fact.state] is Outcome.COMPLETE:
            is_known = before.last_dataset is not None and before.last_dataset.dataset_id == fact.dataset_id
            if not is_known and not before.history.has_success_at(fact.ended_at, polled=True):
                yield _Refresh(fact.ended_at, fact.trigger, fact.dataset_id)
        case _:
            return


def _reported(
    before: Feed, at: datetime, modified: bool | None, modified_from: datetime | None = None, named: str = ""
) -> Iterator[_Refresh]:
    """Yield the refresh that a webhook reported for `at`, unless it was known already.

    `named` is the dataset that the webhook names, if any. If it names none, the one in flight is assumed.
    """
    request = before.in_flight if before.in_flight and at >= before.in_flight.at else None
    if request is None and before.history.has_success_at(at, polled=False):
        return
    trigger, dataset_id = (request.trigger, named or request.dataset_id) if request else (Trigger.EXTERNAL, named)
    first = before.history.first_success
    if not modified and (first is None or first >= at):
        # Codat always reports false for a first read, and not every form of the webhook says that it is one.
        modified = None
    yield _Refresh(at, trigger, dataset_id, modified, is_reported=True, modified_from=modified_from)


def _found(before: Feed, after: Feed, fact: DatasetPolled, succeeded_at: datetime) -> Iterator[_Refresh]:
    """Yield the refresh that a poll found, unless it was known already."""
    is_latest = OUTCOMES[fact.state] is Outcome.COMPLETE
    dataset_id = (fact.dataset_id if is_latest else "") or fact.succeeded_id
    request = before.in_flight
    is_ours = request is not None and request.dataset_id in ("", dataset_id) and succeeded_at >= request.at - SAME_END
    if request and is_ours and after.in_flight is None:
        yield _Refresh(succeeded_at, request.trigger, dataset_id or request.dataset_id)
        return
    is_known = before.succeeded_at is not None and succeeded_at <= before.succeeded_at
    if not is_known and not before.history.has_success_at(succeeded_at, polled=True):
        yield _Refresh(succeeded_at, Trigger.EXTERNAL, dataset_id)
