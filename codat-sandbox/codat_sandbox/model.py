"""Codat's companies, connections, datasets and events."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict

from codat_sandbox.platforms import Platform


class ConnectionStatus(StrEnum):
    """The statuses of a connection. Codat can read only from one that is Linked."""

    PENDING_AUTH = "PendingAuth"
    LINKED = "Linked"
    UNLINKED = "Unlinked"
    DEAUTHORIZED = "Deauthorized"


class DatasetStatus(StrEnum):
    """The 21 statuses of a dataset."""

    INITIAL = "Initial"
    QUEUED = "Queued"
    FETCHING = "Fetching"
    MAP_QUEUED = "MapQueued"
    MAPPING = "Mapping"
    VALIDATION_QUEUED = "ValidationQueued"
    VALIDATING = "Validating"
    PROCESSING_QUEUED = "ProcessingQueued"
    PROCESSING = "Processing"
    COMPLETE = "Complete"
    FETCH_ERROR = "FetchError"
    MAP_ERROR = "MapError"
    VALIDATION_ERROR = "ValidationError"
    PROCESSING_ERROR = "ProcessingError"
    INTERNAL_ERROR = "InternalError"
    RATE_LIMIT_ERROR = "RateLimitError"
    PREREQUISITE_NOT_MET = "PrerequisiteNotMet"
    CANCELLED = "Cancelled"
    AUTH_ERROR = "AuthError"
    PERMISSIONS_ERROR = "PermissionsError"
    NOT_SUPPORTED = "NotSupported"


class RequestedBy(StrEnum):
    """Who requested a dataset. Codat's API does not report it."""

    API = "api"
    SCHEDULE = "schedule"
    FIRST_LINK = "first link"
    PORTAL = "portal"


@dataclass(frozen=True, slots=True)
class Connection:
    """A company's link to a platform. `machine_online` applies only to on-premise platforms.

    If `platform_works` is false, the platform answers each new sync with an error. If `refuses_reads` is true, each new
    sync ends in AuthError, and the connection stays Linked. A `one_time` connection becomes Deauthorized a minute after
    its first syncs have ended.
    """

    id: str
    source_id: str
    platform: Platform
    status: ConnectionStatus
    created: datetime
    last_sync: datetime | None = None
    machine_online: bool = True
    platform_works: bool = True
    refuses_reads: bool = False
    one_time: bool = False
    error: str | None = None


class ConnectionChanges(TypedDict, total=False):
    """What can be changed of a connection apart from its status."""

    machine_online: bool
    platform_works: bool
    refuses_reads: bool
    one_time: bool


@dataclass(frozen=True, slots=True)
class Company:
    """A company with its connections, at one point in time."""

    id: str
    name: str
    tags: dict[str, str]
    created: datetime
    connections: tuple[Connection, ...]
    products: tuple[str, ...] = ()

    @property
    def last_sync(self) -> datetime | None:
        """Return when data of any connection was last read successfully, or None."""
        return max((c.last_sync for c in self.connections if c.last_sync is not None), default=None)

    @property
    def is_active(self) -> bool:
        """Return whether the company has a linked connection, and so counts towards Codat's daily quota."""
        return bool(self.linked)

    @property
    def linked(self) -> list[str]:
        return [each.id for each in self.connections if each.status is ConnectionStatus.LINKED]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One read of one data type from one connection (a pull operation), at one point in time."""

    id: str
    company_id: str
    connection_id: str
    data_type: str
    status: DatasetStatus
    requested: datetime
    requested_by: RequestedBy
    progress: int = 0
    completed: datetime | None = None
    description: str | None = None

    @property
    def is_running(self) -> bool:
        return self.completed is None


@dataclass(frozen=True, slots=True)
class DataStatus:
    """The status of a data type over all connections, as `dataStatus` returns it."""

    data_type: str
    current_status: DatasetStatus
    last_successful_sync: datetime | None
    latest_sync_id: str
    latest_successful_sync_id: str | None


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth about one feed, including what Codat's API does not report.

    `obstacle` says why no refresh can succeed now, or is None.
    """

    company: Company
    connection: Connection
    data_type: str
    latest: Dataset | None
    latest_successful: Dataset | None
    changes_per_day: float
    obstacle: str | None

    @property
    def can_become_fresh(self) -> bool:
        return self.obstacle is None


class EventType(StrEnum):
    """Codat's names of events. Those of reads are not here: some begin with a product's name."""

    COMPANY_CREATED = "company.created"
    COMPANY_DELETED = "company.deleted"
    CONNECTION_CREATED = "connection.created"
    CONNECTION_CONNECTED = "connection.connected"
    CONNECTION_FAILED = "connection.failed"
    CONNECTION_DISCONNECTED = "connection.disconnected"
    CONNECTION_RECONNECTED = "connection.reconnected"
    CONNECTION_DELETED = "connection.deleted"
    PRODUCT_ADDED = "company.product.added"
    PRODUCT_REMOVED = "company.product.removed"
    QUOTA_REACHED = "client.rateLimit.reached"
    QUOTA_RESET = "client.rateLimit.reset"


@dataclass(frozen=True, slots=True)
class Read:
    """One data type of a `read.completed` event.

    `last_fetched` is when the previous successful read fetched its data, or None if there was none. `product` is the
    custom product whose sync it was part of, or empty.
    """

    connection_id: str
    data_type: str
    status: DatasetStatus
    records_modified: bool
    last_fetched: datetime | None
    dataset_id: str
    product: str = ""


@dataclass(frozen=True, slots=True)
class ReadCompleted:
    """Reads that ended, as one form of `read.completed` reports them: its `event_type`."""

    id: str
    generated: datetime
    company: Company
    reads: tuple[Read, ...]
    event_type: str


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A change of a connection."""

    id: str
    generated: datetime
    company: Company
    connection: Connection
    event_type: EventType


@dataclass(frozen=True, slots=True)
class CompanyEvent:
    """The creation or deletion of a company."""

    id: str
    generated: datetime
    company: Company
    event_type: EventType


@dataclass(frozen=True, slots=True)
class ProductEvent:
    """A company got or lost a product; `company` is the company after that."""

    id: str
    generated: datetime
    company: Company
    product: str
    event_type: EventType


@dataclass(frozen=True, slots=True)
class RateLimitEvent:
    """The daily quota was used up, or was reset. The event belongs to no company."""

    id: str
    generated: datetime
    daily_quota: int
    quota_remaining: int
    expiry: datetime
    event_type: EventType


Event = ReadCompleted | ConnectionEvent | CompanyEvent | ProductEvent | RateLimitEvent
