"""Facts about companies and their connections, which `freshness.domain.company_transition` applies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshness.domain.company import Connection


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
    feeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The data types that the platforms have, by connection."""


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
