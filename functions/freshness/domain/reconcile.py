"""What Codat says of a feed when it is asked, and what the feed becomes by it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from freshness.domain.dataset import DatasetState, Outcome, Trigger, has_ended, outcome
from freshness.domain.feed import End, Feed, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What Codat says, at a moment, of the latest dataset of a feed; times that it does not say are `None`."""

    at: datetime
    state: str
    dataset_id: str
    requested_at: datetime | None = None
    ended_at: datetime | None = None
    succeeded_at: datetime | None = None
    """When the latest successful dataset ended, whether or not it is this one."""


def sighted(feed: Feed, sighting: Sighting, linked_at: datetime) -> Feed:
    """The feed after Codat was asked about it. `linked_at` is when its connection was last seen to be linked."""
    if sighting.succeeded_at:
        feed = _sighted_success(feed, sighting, sighting.succeeded_at)
    if not has_ended(sighting.state):
        return _sighted_running(feed, sighting)
    if outcome(sighting.state) is not Outcome.COMPLETE:
        feed = _sighted_failed(feed, sighting, linked_at)
    return _sighted_without(feed, sighting)


def _is_requested(feed: Feed, sighting: Sighting) -> bool:
    return feed.request is not None and feed.request.dataset_id == sighting.dataset_id


def _sighted_success(feed: Feed, sighting: Sighting, succeeded_at: datetime) -> Feed:
    is_latest = outcome(sighting.state) is Outcome.COMPLETE
    if _is_requested(feed, sighting) and is_latest and feed.request:
        # A request that was adopted may carry our own clock's time, which may be ahead of Codat's.
        succeeded_at = max(succeeded_at, feed.request.at)
    dataset_id = sighting.dataset_id if is_latest else ""
    return feed.ended(End(at=succeeded_at, state=DatasetState.COMPLETE, dataset_id=dataset_id))


def _sighted_running(feed: Feed, sighting: Sighting) -> Feed:
    if feed.in_flight and feed.in_flight.dataset_id in ("", sighting.dataset_id):
        feed = replace(feed, request=replace(feed.in_flight, dataset_id=sighting.dataset_id))
    else:
        at = sighting.requested_at or sighting.at
        feed = feed.requested(Request(at=at, trigger=Trigger.EXTERNAL, dataset_id=sighting.dataset_id))
    return replace(feed, seen_running_at=max(filter(None, (feed.seen_running_at, sighting.at))))


def _sighted_failed(feed: Feed, sighting: Sighting, linked_at: datetime) -> Feed:
    if feed.end and feed.end.dataset_id == sighting.dataset_id:
        return feed
    if feed.end and not feed.end.dataset_id and feed.end.state == sighting.state and not feed.in_flight:
        return replace(feed, end=replace(feed.end, dataset_id=sighting.dataset_id))
    if feed.in_flight and not _is_requested(feed, sighting) and sighting.at <= feed.in_flight.at:
        return feed
    at = sighting.ended_at or sighting.at
    if feed.request is None and feed.end is None:
        # When it failed is not known, only that the connection is linked now: so it is worth one try.
        at = min(at, linked_at - timedelta.resolution)
    elif feed.request and _is_requested(feed, sighting):
        at = max(at, feed.request.at)
    return feed.ended(End(at=at, state=sighting.state, dataset_id=sighting.dataset_id))


def _sighted_without(feed: Feed, sighting: Sighting) -> Feed:
    """A dataset still in flight, while the latest one that Codat tells of is another, which has ended."""
    if feed.in_flight is None or feed.late_at is None or sighting.at < feed.late_at:
        return feed
    return feed.ended(End(at=sighting.at, state=DatasetState.CANCELLED, dataset_id=feed.in_flight.dataset_id))
