"""Leases for queueing feeds that callers wait for. If many functions try at the same moment, one queues the feed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import uuid4

from freshness.aws.dynamodb.control import Control
from freshness.domain.feeds.feed import Feed

LONGEST_CALL = timedelta(seconds=60)
"""How long a lease lasts that is not given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLease:
    """The lease of a feed. Its holder queues the feed, and then gives the lease back."""

    control: Control
    name: str
    owner: str

    @classmethod
    def take(cls, control: Control, feed: Feed, now: datetime) -> Self | None:
        """Take the lease of a feed. Return `None` if another function holds it."""
        lease = cls(control=control, name=f"queue {'/'.join(feed.key)}", owner=uuid4().hex)
        return lease if control.acquire(lease.name, lease.owner, now + LONGEST_CALL, now) else None

    def release(self) -> None:
        """Give the lease back, unless another owner has taken it since."""
        self.control.release(self.name, self.owner)
