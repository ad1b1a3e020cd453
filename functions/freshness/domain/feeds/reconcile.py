"""What a poll of Codat changes of a feed: one function for each rule."""

from dataclasses import replace
from datetime import datetime, timedelta

from freshness.domain.datasets.dataset import OUTCOMES, DatasetState, Outcome, Trigger, has_ended
from freshness.domain.feeds.facts import DatasetPolled
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request


def reconcile(feed: Feed, polled: DatasetPolled, linked_at: datetime) -> Feed:
    """Return the feed after Codat was polled.

    `linked_at` is the `status_at` of its connection, or the time of the poll if the connection is not known.
    """
    if succeeded_at := polled.succeeded_at or _completed_at(feed, polled):
        feed = _with_success(feed, polled, succeeded_at)
    if not has_ended(polled.state):
        return _with_running(feed, polled)
    if OUTCOMES[polled.state] is not Outcome.COMPLETE:
        feed = _with_failure(feed, polled, linked_at)
    return _without_dataset_in_flight(feed, polled)


def _is_requested(feed: Feed, polled: DatasetPolled) -> bool:
    return feed.last_dataset is not None and feed.last_dataset.dataset_id == polled.dataset_id


def _completed_at(feed: Feed, polled: DatasetPolled) -> datetime | None:
    """Return when the dataset in flight was completed: as it was requested, where Codat says that alone, not when."""
    is_complete = OUTCOMES[polled.state] is Outcome.COMPLETE
    if is_complete and feed.in_flight and feed.in_flight.dataset_id == polled.dataset_id:
        return polled.ended_at or feed.in_flight.at
    return None


def _with_success(feed: Feed, polled: DatasetPolled, succeeded_at: datetime) -> Feed:
    """Return the feed with the latest success that the poll found.

    If the poll names its dataset, its time replaces that of a webhook's report of the same end, which is slightly
    later.
    """
    is_latest = OUTCOMES[polled.state] is Outcome.COMPLETE
    began_at = polled.requested_at if is_latest else None
    if _is_requested(feed, polled) and is_latest and feed.last_dataset:
        # A request that was adopted may carry our own clock's time, which may be ahead of Codat's.
        succeeded_at = max(succeeded_at, feed.last_dataset.at)
        # Only Codat knows when others requested a dataset.
        began_at = began_at or (None if feed.last_dataset.trigger is Trigger.EXTERNAL else feed.last_dataset.at)
    dataset_id = polled.dataset_id if is_latest else polled.succeeded_id
    return feed.ended(End(at=succeeded_at, state=DatasetState.COMPLETE, dataset_id=dataset_id), began_at=began_at)


def _with_running(feed: Feed, polled: DatasetPolled) -> Feed:
    if feed.in_flight and feed.in_flight.dataset_id in ("", polled.dataset_id):
        feed = replace(feed, last_dataset=replace(feed.in_flight, dataset_id=polled.dataset_id))
    else:
        at = polled.requested_at or polled.at
        feed = feed.requested(Request(at=at, trigger=Trigger.EXTERNAL, dataset_id=polled.dataset_id))
    seen_at = max(filter(None, (feed.seen_running_at, polled.at)))
    description = feed.running_description if polled.reason is None else polled.reason
    return replace(feed, seen_running_at=seen_at, running_state=polled.state, running_description=description)


def _with_failure(feed: Feed, polled: DatasetPolled, linked_at: datetime) -> Feed:
    """Return the feed after a poll found that its latest dataset failed.

    An end that is known already gains what the poll adds: the dataset's id, the exact time, the reason. A poll from
    before the request in flight changes nothing.
    """
    reason = polled.reason or ""
    if feed.end and feed.end.dataset_id == polled.dataset_id:
        return _with_reason(feed, feed.end, polled)
    was_reported_without_id = feed.end is not None and not feed.end.dataset_id and feed.end.state == polled.state
    if feed.end and was_reported_without_id and not feed.in_flight:
        exact = End(at=polled.ended_at or feed.end.at, state=polled.state, dataset_id=polled.dataset_id, reason=reason)
        if feed.end.is_report_of(exact):
            return feed.ended(exact)
        return _with_reason(feed, replace(feed.end, dataset_id=polled.dataset_id), polled)
    is_from_before_request = not _is_requested(feed, polled) and feed.in_flight and polled.at <= feed.in_flight.at
    if is_from_before_request:
        return feed
    failed_at = _failed_at(feed, polled, linked_at)
    return feed.ended(End(at=failed_at, state=polled.state, dataset_id=polled.dataset_id, reason=reason))


def _with_reason(feed: Feed, end: End, polled: DatasetPolled) -> Feed:
    """Return the feed with `end`, which gets the poll's reason if the poll found the same state and says more."""
    end = end.with_reason_of(replace(end, state=polled.state, reason=polled.reason or ""))
    return feed if end == feed.end else replace(feed, end=end)


def _failed_at(feed: Feed, polled: DatasetPolled, linked_at: datetime) -> datetime:
    """Return when a dataset failed: as Codat says, else the time of the poll.

    For a feed without any request or end, that is before `linked_at` at the latest, so that the feed is tried once
    more.
    """
    at = polled.ended_at or polled.at
    if feed.last_dataset is None and feed.end is None:
        # It may have failed before the connection was linked: one try is worthwhile.
        return min(at, linked_at - timedelta.resolution)
    if feed.last_dataset and _is_requested(feed, polled):
        # Our own clock's time of the request may be ahead of Codat's.
        return max(at, feed.last_dataset.at)
    return at


def _without_dataset_in_flight(feed: Feed, polled: DatasetPolled) -> Feed:
    """Return the feed with a late dataset in flight cancelled: Codat has a later dataset by now, and that has ended."""
    if feed.in_flight is None or feed.late_at is None or polled.at < feed.late_at:
        return feed
    return feed.ended(End(at=polled.at, state=DatasetState.CANCELLED, dataset_id=feed.in_flight.dataset_id))
