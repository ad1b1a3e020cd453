"""What Codat says of a row when it is asked, and what the row becomes by it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from freshness.dataset import AskedBy, DatasetState, Outcome, has_ended, outcome
from freshness.row import End, Request, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What Codat says, at a moment, of the latest dataset of a row; times that it does not say are `None`."""

    at: datetime
    state: str
    dataset_id: str
    requested_at: datetime | None = None
    ended_at: datetime | None = None
    succeeded_at: datetime | None = None
    """When the latest successful dataset ended, whether or not it is this one."""


def sighted(row: Row, sighting: Sighting, linked_at: datetime) -> Row:
    """The row after Codat was asked about it. `linked_at` is when its connection was last seen to be linked."""
    if sighting.succeeded_at:
        row = _sighted_success(row, sighting, sighting.succeeded_at)
    if not has_ended(sighting.state):
        return _sighted_running(row, sighting)
    if outcome(sighting.state) is not Outcome.COMPLETE:
        row = _sighted_failed(row, sighting, linked_at)
    return _sighted_without(row, sighting)


def _is_requested(row: Row, sighting: Sighting) -> bool:
    return row.request is not None and row.request.dataset_id == sighting.dataset_id


def _sighted_success(row: Row, sighting: Sighting, succeeded_at: datetime) -> Row:
    is_latest = outcome(sighting.state) is Outcome.COMPLETE
    if _is_requested(row, sighting) and is_latest and row.request:
        # A request that was adopted may carry our own clock's time, which may be ahead of Codat's.
        succeeded_at = max(succeeded_at, row.request.at)
    dataset_id = sighting.dataset_id if is_latest else ""
    return row.ended(End(at=succeeded_at, state=DatasetState.COMPLETE, dataset_id=dataset_id))


def _sighted_running(row: Row, sighting: Sighting) -> Row:
    if row.in_flight and row.in_flight.dataset_id in ("", sighting.dataset_id):
        row = replace(row, request=replace(row.in_flight, dataset_id=sighting.dataset_id))
    else:
        at = sighting.requested_at or sighting.at
        row = row.requested(Request(at=at, asked_by=AskedBy.OTHERS, dataset_id=sighting.dataset_id))
    return replace(row, seen_running_at=max(filter(None, (row.seen_running_at, sighting.at))))


def _sighted_failed(row: Row, sighting: Sighting, linked_at: datetime) -> Row:
    if row.end and row.end.dataset_id == sighting.dataset_id:
        return row
    if row.end and not row.end.dataset_id and row.end.state == sighting.state and not row.in_flight:
        return replace(row, end=replace(row.end, dataset_id=sighting.dataset_id))
    if row.in_flight and not _is_requested(row, sighting) and sighting.at <= row.in_flight.at:
        return row
    at = sighting.ended_at or sighting.at
    if row.request is None and row.end is None:
        # When it failed is not known, only that the connection is linked now: so it is worth one try.
        at = min(at, linked_at - timedelta.resolution)
    elif row.request and _is_requested(row, sighting):
        at = max(at, row.request.at)
    return row.ended(End(at=at, state=sighting.state, dataset_id=sighting.dataset_id))


def _sighted_without(row: Row, sighting: Sighting) -> Row:
    """A dataset still in flight, while the latest one that Codat tells of is another, which has ended."""
    if row.in_flight is None or row.late_at is None or sighting.at < row.late_at:
        return row
    return row.ended(End(at=sighting.at, state=DatasetState.CANCELLED, dataset_id=row.in_flight.dataset_id))
