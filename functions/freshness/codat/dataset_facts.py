"""The facts that follow from a dataset as Codat returns it."""

from datetime import datetime

from freshness.codat.models import PullOperation
from freshness.domain.datasets.dataset import DatasetState, Trigger, has_ended
from freshness.domain.feeds.facts import DatasetPolled, DatasetRequested
from freshness.domain.feeds.feed_values import Decided


def polled_fact(operation: PullOperation, at: datetime) -> DatasetPolled:
    """Return the fact that Codat returned a dataset at a time."""
    is_complete = operation.status == DatasetState.COMPLETE
    return DatasetPolled(
        at=at,
        state=operation.status,
        dataset_id=operation.id,
        requested_at=operation.requested,
        ended_at=operation.completed,
        succeeded_at=operation.completed if is_complete else None,
        succeeded_id=operation.id if is_complete else "",
        reason=operation.reason,
    )


def requested_fact(
    operation: PullOperation,
    trigger: Trigger,
    decided: Decided | None = None,
    called_at: datetime | None = None,
    serves: datetime | None = None,
) -> DatasetRequested:
    """Return the fact that a call queued a dataset, or that it was refused because the dataset runs already."""
    return DatasetRequested(
        at=operation.requested,
        trigger=trigger,
        dataset_id=operation.id,
        state=operation.status,
        # If it is unknown when it ended, the earlier time counts.
        ended_at=(operation.completed or operation.requested) if has_ended(operation.status) else None,
        reason=operation.reason,
        decided=decided,
        called_at=called_at,
        serves=serves,
    )
