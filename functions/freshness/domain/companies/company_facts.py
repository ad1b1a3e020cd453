"""Facts about companies and their connections, which `freshness.domain.transitions.company_transition` applies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshness.domain.companies.company import Connection
from freshness.domain.companies.pause import Pause


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
    """A company as Codat listed it; `None` for what the list did not say."""

    name: str | None
    tags: Mapping[str, str] | None
    connections: tuple[Connection, ...]
    at: datetime
    has_all_connections: bool = True
    """Whether it may have no others: if a part of the list could not be read, it may."""
    believed_at: datetime | None = None
    """As `Listing.believed_at`, of the lists before."""
    parent_id: str = ""
    products: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionChanged:
    """A connection was as given at its `status_at`."""

    company_id: str
    connection: Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadsEnded:
    """Reads ended, which shows whether connections can be read. Each mapping is by the id of the connection."""

    refused: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    """When reads ended with `AuthError`."""
    succeeded: Mapping[str, datetime] = field(default_factory=dict)
    """When the latest successful read ended, as far as it is known."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why those were refused, in Codat's words, where Codat says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRefreshStarted:
    """Several feeds of the company are about to be queued by one call. `at` is by our own clock."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckNeeded:
    """Something happened to the company, and only Codat knows the details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSucceeded:
    """The company was checked as it was at `version`. `polled` is whether Codat was polled."""

    version: int
    polled: bool
    reads: ReadsEnded = ReadsEnded()
    feeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The data types that the platforms have, by connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFailed:
    """A check failed, to be repeated after a delay from `first` to `longest`."""

    first: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyCalled:
    """The last call about the company, made by our own clock at `at`, got a response or not."""

    at: datetime
    is_answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksRead:
    """Codat returned the links of connections at a time, by their ids."""

    at: datetime
    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyNotFound:
    """Codat answered 404 for the company. `believed_at` is as in `Listing`."""

    at: datetime
    believed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyPaused:
    """An operator paused the company's refreshes, or resumed them, which is `None`."""

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
