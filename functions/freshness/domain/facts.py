"""Facts: single pieces of information about feeds and companies, whatever they come from.

A webhook, a poll of Codat, the response to a queueing call and an operator's command each produce facts.
`freshness.domain.transition` and `freshness.domain.company_transition` say what follows from each. Times are Codat's
own unless noted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshness.domain.company import Connection
from freshness.domain.dataset import Issue, Trigger
from freshness.domain.feed_values import Decided


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequested:
    """A queueing call was answered: this dataset runs, or has ended already. An unknown `dataset_id` is empty."""

    at: datetime
    trigger: Trigger
    dataset_id: str = ""
    state: str = ""
    ended_at: datetime | None = None
    decided: Decided | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueingFailed:
    """A queueing call failed; another try may succeed, after a delay of at most `longest`.

    `unanswered_key` is the call's idempotency key if it may have taken effect, to be used by the next try.
    """

    at: datetime
    longest: timedelta
    unanswered_key: str = ""


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
    | DataTypeUnsupported
    | RefreshRequested
    | DataWanted
    | Deferred
    | PromiseReviewed
    | Rescheduled
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyCreated:
    """A company was created at Codat."""

    company_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyDeleted:
    """A company was deleted at Codat."""

    company_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyListed:
    """A company as Codat listed it. `policy` is the fingerprint of the policy in force."""

    name: str
    tags: Mapping[str, str]
    connections: tuple[Connection, ...]
    at: datetime
    policy: str
    parent_id: str = ""
    products: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionChanged:
    """A connection was as given at its `status_at`."""

    company_id: str
    connection: Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadsRefused:
    """Reads ended with `AuthError`: the customer must authorise the connections again.

    `at` is when, by the id of the connection.
    """

    at: Mapping[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRefreshStarted:
    """Several feeds of the company are about to be queued by one call. `at` is by our own clock."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckNeeded:
    """Something happened to the company of which only Codat knows the details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSucceeded:
    """The company was checked as it was at `version`. `polled` is whether Codat was polled.

    `refused` is as `ReadsRefused.at`.
    """

    version: int
    polled: bool
    policy: str
    refused: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFailed:
    """A check failed, to be repeated after a delay from `first` to `longest`."""

    first: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyNotFound:
    """Codat answered 404 for the company."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyPaused:
    """An operator paused the company's refreshes, or resumed them."""

    paused: bool


CompanyFact = (
    CompanyCreated
    | CompanyDeleted
    | CompanyListed
    | ConnectionChanged
    | ReadsRefused
    | BulkRefreshStarted
    | CheckNeeded
    | CheckSucceeded
    | CheckFailed
    | CompanyNotFound
    | CompanyPaused
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
