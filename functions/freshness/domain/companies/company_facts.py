"""Facts about companies and their connections, which `freshness.domain.transitions.company_transition` applies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshness.domain.companies.company import Connection
from freshness.domain.companies.pause import Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyCreated:
    company_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyDeleted:
    company_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyListed:
    """A company as Codat listed it; `None` for what the list did not say."""

    name: str | None
    tags: Mapping[str, str] | None
    connections: tuple[Connection, ...]
    at: datetime
    has_all_connections: bool = True
    """Whether the list has all its connections: false if a part of the list could not be read."""
    believed_at: datetime | None = None
    """`Listing.believed_at` before this list."""
    parent_id: str = ""
    products: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionChanged:
    """A report of a connection, made at its `status_at`."""

    company_id: str
    connection: Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadsEnded:
    """The ends of reads, which show whether connections can be read. Each mapping is by connection id."""

    refused: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    """When reads ended with `AuthError`."""
    succeeded: Mapping[str, datetime] = field(default_factory=dict)
    """When the latest known success ended."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why reads were refused, in Codat's words; empty where Codat does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRefreshStarted:
    """Several feeds of the company are about to be queued by one call. `at` is by our own clock."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckNeeded:
    """Something happened to the company, and only Codat knows the details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSucceeded:
    """A check of the company, as it was at `version`, succeeded. `polled` is whether Codat was polled."""

    version: int
    polled: bool
    reads: ReadsEnded = ReadsEnded()
    feeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The data types that are kept fresh, by connection id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFailed:
    """A check failed. It is repeated after a delay from `first` to `longest`."""

    first: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyCalled:
    """A call about the company was made at `at`, by our own clock. `is_answered` is whether it got a response."""

    at: datetime
    is_answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksRead:
    """Codat returned the links of connections. `urls` has them by connection id."""

    at: datetime
    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyNotFound:
    """Codat answered 404 for the company. `believed_at` is as in `Listing`."""

    at: datetime
    believed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyPaused:
    """An operator paused the company's refreshes, or resumed them: `pause` is then `None`."""

    pause: Pause | None


CompanyFact = (
    CompanyCreated
    | CompanyDeleted
    | CompanyListed
    | ConnectionChanged
    | ReadsEnded
    | BulkRefreshStarted
    | CheckNeeded
    | CheckSucceeded
    | CheckFailed
    | CompanyCalled
    | LinksRead
    | CompanyNotFound
    | CompanyPaused
)
