"""Facts: single pieces of information about feeds and companies, wherever they come from.

A webhook, a poll of Codat, the response to a queueing call and an operator's command each produce facts.
`freshness.domain.transitions` says what follows from each. Times are Codat's own unless noted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from freshness.domain.companies.company_facts import CompanyCreated, CompanyDeleted, ConnectionChanged
from freshness.domain.datasets.dataset import Issue, Trigger
from freshness.domain.feeds.feed_values import Decided, Unanswered, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEnded:
    """A read of a data type from a connection ended in `state`. `records_modified` is `None` where it is unknown.

    `is_first` is whether nothing had been read before: `records_modified` then means nothing.
    """

    company_id: str
    connection_id: str
    data_type: str
    at: datetime
    state: str
    records_modified: bool | None
    is_first: bool
    issues: tuple[Issue, ...] = ()
    reason: str = ""
    """Why it failed, in Codat's words; empty if it did not, or Codat does not say."""
    dataset_id: str = ""
    """The dataset that the links in the webhook's issues name; empty if they name none."""
    modified_from: datetime | None = None
    """Codat's `modifiedFromDate`: the changes found are from then on. `None` if Codat did not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEnded:
    """A dataset ended in `state`, some time after its request: when exactly is unknown."""

    company_id: str
    data_type: str
    dataset_id: str
    state: str
    records_modified: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWritten:
    """The user wrote data through Codat to the platform, so Codat's copy is out of date."""

    company_id: str
    connection_id: str
    data_type: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPolled:
    """The state of a feed's latest dataset when Codat was polled at `at`. Times that Codat left out are `None`."""

    at: datetime
    state: str
    dataset_id: str
    requested_at: datetime | None = None
    ended_at: datetime | None = None
    succeeded_at: datetime | None = None
    """When the feed's latest successful dataset ended, whether or not it is this one."""
    succeeded_id: str = ""
    """The id of that latest successful dataset; empty if Codat did not return it."""
    reason: str | None = None
    """Why it is in this state, in Codat's words; `None` if Codat was not asked for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequested:
    """A queueing call was answered: this dataset runs, or has ended already. An unknown `dataset_id` is empty."""

    at: datetime
    trigger: Trigger
    dataset_id: str = ""
    state: str = ""
    ended_at: datetime | None = None
    reason: str = ""
    """Why it failed, in Codat's words."""
    decided: Decided | None = None
    called_at: datetime | None = None
    """The earliest time of the call, by our own clock; `None` if it was just now. A later requested refresh stays
    open."""
    serves: datetime | None = None
    """The `not_before` of callers who had asked before the call was made, by our own clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueingFailed:
    """A queueing call failed. It may be repeated after a delay of at most `longest`.

    `unanswered` is the call, if it may have taken effect.
    """

    at: datetime
    longest: timedelta
    unanswered: Unanswered | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInterrupted:
    """A run that queues what is due began at `at`, by our own clock, and did not finish.

    It may have queued the feed without recording it.
    """

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTypeUnsupported:
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRequested:
    """A refresh was requested beyond what the promise needs. `at` is by our own clock."""

    at: datetime
    trigger: Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWanted:
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDurationLearned:
    """How long a sync usually takes on the feed's platform; `None` if that is unknown."""

    duration: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """The planner decided to read the feed again at `until`, or never if that is `None`.

    This counts only if the feed is still at `version`.
    """

    until: datetime | None
    decided: Decided
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseReviewed:
    """A tick read the feed: time passed, so its promise may have broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissExpected:
    """The feed is expected to miss a deadline: its copy of `succeeded_at` is too old for it."""

    deadline: str
    """The deadline's name in the policy."""
    deadline_at: datetime
    expected_at: datetime | None
    """When the next refresh is expected to end, if that can be seen."""
    succeeded_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescheduled:
    """The feed's connection, its promise or a pause of its company changed, but not the feed itself."""


PolledFact = DatasetPolled | SyncDurationLearned
FeedFact = (
    ReadEnded
    | DatasetEnded
    | DataWritten
    | PolledFact
    | DatasetRequested
    | QueueingFailed
    | RunInterrupted
    | DataTypeUnsupported
    | RefreshRequested
    | DataWanted
    | Deferred
    | MissExpected
    | PromiseReviewed
    | Rescheduled
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """Codat accepts no calls before `until`."""

    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReset:
    at: datetime


WebhookFact = (
    ReadEnded
    | DatasetEnded
    | DataWritten
    | CompanyCreated
    | CompanyDeleted
    | ConnectionChanged
    | LimitReached
    | LimitReset
)
"""What a webhook can contain."""
