"""Idempotency keys of queueing calls. A key is computed from the values that the decision to call was based on."""

from datetime import datetime
from uuid import UUID, uuid5

from freshness.domain.feeds.feed import Feed
from freshness.domain.times import sortable

_NAMESPACE = UUID("5b0f5a2e-9d5c-4b0e-8a53-4a8f0c1f6f0e")


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
    return uuid5(_NAMESPACE, "\n".join(parts))


def text_of(at: datetime | None) -> str:
    """Return a time as a part of a key; empty for `None`."""
    return sortable(at) if at else ""
