"""Facts: single pieces of information about feeds and companies, whatever they come from.

A webhook, a poll of Codat, the response to a queueing call and an operator's command each produce facts.
`freshness.domain.transitions` says what follows from each. Times are Codat's own unless noted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from freshness.domain.companies.company_facts import CompanyCreated, CompanyDeleted, ConnectionChanged
from freshness.domain.datasets.dataset import Issue, Trigger
from freshness.domain.feeds.feed_values import Decided, Unanswered


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
    """The dataset, which only the issues of a webhook name; empty if it is not known."""
    modified_from: datetime | None = None
    """From when on the changes are that it found, if it found any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEnded:
    """A dataset ended in `state`. When it ended is unknown: only that it was after it had been requested."""

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
    """The id of that dataset, if Codat returned it."""
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
    """When the call was made at the earliest, by our own clock, if not just now: it serves no later request."""
    serves: datetime | None = None
    """The `not_before` of callers who had asked before the call was made that queued it, by our own clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueingFailed:
    """A queueing call failed; another try may succeed, after a delay of at most `longest`.

    `unanswered` is the call if it may have taken effect.
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
    """The platform does not have the data type."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRequested:
    """A refresh was requested beyond what the promise needs. `at` is by our own clock."""

    at: datetime
    trigger: Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWanted:
    """A caller needs data whose read was requested at `not_before` or later, by `deadline`, by our own clock.

    The policy's windows do not apply if it is wanted `at_any_time`.
    """

    not_before: datetime
    deadline: datetime
    at_any_time: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDurationLearned:
    """How long a sync usually takes on the feed's platform."""

    duration: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """The planner decided to look at the feed again at `until`, or never; valid for the feed at `version` only."""

    until: datetime | None
    decided: Decided
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseReviewed:
    """A tick read the feed: time passed, so its promise may have broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissExpected:
    """A deadline of the feed is expected to be missed, since its copy of `succeeded_at` is too old for it."""

    deadline: str
    """Its name in the policy."""
    deadline_at: datetime
    expected_at: datetime | None
    """When the next refresh is expected to end, if that can be seen."""
    succeeded_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescheduled:
    """Nothing happened to the feed itself, but to its connection, its promise or a pause of its company."""


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
    """Codat accepts calls again."""

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
