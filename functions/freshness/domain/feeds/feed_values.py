"""The values that a feed consists of."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from freshness.domain.datasets.dataset import OUTCOMES, Outcome, Trigger
from freshness.domain.datasets.sync_history import SAME_END
from freshness.domain.promises.promise import AttainmentKey

REPEATABLE = timedelta(hours=1)
"""How long a call may be repeated with its idempotency key: Codat keeps its response for 90 minutes."""


class State(StrEnum):
    """A feed's state as readers see it."""

    FRESH = "fresh"
    QUIET = "quiet"
    """Fresh, but nothing has changed at the source for as long as the policy's `quiet_after`."""
    STALE = "stale"
    REFRESHING = "refreshing"
    FAILING = "failing"
    """The last read or call failed, and the next is scheduled."""
    BLOCKED = "blocked"
    """A person must act: relink the connection, or restore its permissions."""
    UNSUPPORTED = "unsupported"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The latest dataset requested, by anyone. An unknown `dataset_id` is empty."""

    at: datetime
    trigger: Trigger
    dataset_id: str = ""
    serves: datetime | None = None
    """The `not_before` of the callers that it was requested for, if our own clock, ahead of Codat's, makes that
    later."""

    def is_of(self, not_before: datetime) -> bool:
        """Return whether the dataset was requested at `not_before` or later, or for callers who asked for that."""
        return max(self.at, self.serves or self.at) >= not_before


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The latest dataset that ended, and in which state. An unknown `dataset_id` is empty."""

    at: datetime
    state: str
    dataset_id: str = ""
    reason: str = ""
    """Why it failed, in Codat's words; empty if it did not, or Codat does not say."""

    def with_reason_of(self, other: "End | None") -> "End":
        """Return the end with the longer of both reasons; unchanged if `other` is not the same end."""
        if other is None or other.state != self.state or not (other.at == self.at or other.is_report_of(self)):
            return self
        longer = max(self.reason, other.reason, key=lambda reason: (len(reason), reason))
        return self if longer == self.reason else replace(self, reason=longer)

    @property
    def rank(self) -> tuple[datetime, bool, str, str]:
        """Return the sort key of ends: the later is greater, and of two at the same time, one that succeeded."""
        return self.at, OUTCOMES[self.state] is Outcome.COMPLETE, self.state, self.dataset_id

    def is_report_of(self, polled: "End") -> bool:
        """Return whether this end is a webhook's report of the end that a poll found: it has no dataset id here."""
        is_webhook = bool(polled.dataset_id) and not self.dataset_id
        return is_webhook and self.state == polled.state and abs(self.at - polled.at) <= SAME_END


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """The time when the read of a copy was requested: the copy may lack later changes at the source.

    If only the end of the read is known, `at` is that minus `LONGEST_SYNC`, and `is_estimated` is true.
    """

    at: datetime
    is_estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The needs of a caller of a feed, by our own clock; of all, the latest `not_before` and earliest `deadline`."""

    not_before: datetime
    """The copy must be as of this time or later: when its read was requested."""
    deadline: datetime
    at_any_time: bool = False
    """Whether the policy's windows do not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The planner's decision that last changed a feed."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A queueing call that may have taken effect. It was made at `at` or later, by our own clock.

    `key` is its idempotency key, empty if that is not known.
    """

    at: datetime
    key: str = ""

    def is_repeatable(self, now: datetime) -> bool:
        """Return whether the call may be repeated with its key: Codat then returns its first response."""
        return bool(self.key) and now < self.at + REPEATABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """An open breach of a promise. Any part of it before `since` is recorded already.

    `waiting` is whether the customer must act before a refresh can succeed.
    """

    since: datetime
    group: AttainmentKey
    waiting: bool = False
