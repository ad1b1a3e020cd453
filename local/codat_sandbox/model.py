"""What there is in Codat: companies, their connections, datasets, and the events that Codat tells of."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from local.codat_sandbox.platforms import DataType, Platform


class ConnectionStatus(StrEnum):
    """Whether Codat may read from a connection: only if it is Linked."""

    PENDING_AUTH = "PendingAuth"
    LINKED = "Linked"
    UNLINKED = "Unlinked"
    DEAUTHORIZED = "Deauthorized"


class DatasetStatus(StrEnum):
    """The 21 states of a dataset."""

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
    """Who asked for a dataset. Codat's API does not say; the sandbox's truth does."""

    API = "api"
    SCHEDULE = "schedule"
    FIRST_LINK = "first link"
    PORTAL = "portal"


@dataclass(frozen=True, slots=True)
class Connection:
    """One company's link to one platform. `machine_online` matters only on an on-premise platform."""

    id: str
    source_id: str
    platform: Platform
    status: ConnectionStatus
    created: datetime
    last_sync: datetime | None = None
    machine_online: bool = True
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """One small business as it was at one moment."""

    id: str
    name: str
    tags: dict[str, str]
    created: datetime
    connections: tuple[Connection, ...]

    @property
    def last_sync(self) -> datetime | None:
        """When data of any connection was last read."""
        return max((c.last_sync for c in self.connections if c.last_sync is not None), default=None)

    @property
    def is_active(self) -> bool:
        """Whether it counts towards Codat's daily quota: it has a connection that is linked."""
        return any(connection.status is ConnectionStatus.LINKED for connection in self.connections)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One read of one data type from one connection, as it was at one moment (a pull operation)."""

    id: str
    company_id: str
    connection_id: str
    data_type: DataType
    status: DatasetStatus
    requested: datetime
    requested_by: RequestedBy
    progress: int = 0
    completed: datetime | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, well or badly."""
        return self.completed is None


@dataclass(frozen=True, slots=True)
class DataStatus:
    """What `dataStatus` says of a data type over all connections. Never synced: `current_status` is not given."""

    data_type: DataType
    current_status: DatasetStatus | None = None
    last_successful_sync: datetime | None = None
    latest_sync_id: str | None = None
    latest_successful_sync_id: str | None = None


@dataclass(frozen=True, slots=True)
class SyncSetting:
    """When Codat itself reads a data type. `sync_schedule` is in hours after the last sync; 0 is never."""

    data_type: DataType
    fetch_on_first_link: bool
    sync_schedule: int
    sync_order: int


@dataclass(frozen=True, slots=True)
class Truth:
    """What is so about one data type of one connection, whether or not Codat's API tells it."""

    company: Company
    connection: Connection
    data_type: DataType
    latest: Dataset | None
    latest_successful: Dataset | None
    changes_per_day: float
    obstacle: str | None

    @property
    def can_become_fresh(self) -> bool:
        """Whether a refresh can succeed now: linked, supported, permitted, and its machine online."""
        return self.obstacle is None


@dataclass(frozen=True, slots=True)
class Read:
    """One line of a `read.completed` event. `last_fetched` is when Codat had last read it well before."""

    connection_id: str
    data_type: DataType
    status: DatasetStatus
    records_modified: bool
    last_fetched: datetime | None


@dataclass(frozen=True, slots=True)
class ReadCompleted:
    """`read.completed`, or `read.completed.initial` if none of the reads had ever succeeded before."""

    id: str
    generated: datetime
    company: Company
    reads: tuple[Read, ...]
    initial: bool

    @property
    def event_type(self) -> str:
        """Codat's name of the event."""
        return "read.completed.initial" if self.initial else "read.completed"


class ConnectionEventType(StrEnum):
    """Codat's names of the events of a connection."""

    CREATED = "connection.created"
    CONNECTED = "connection.connected"
    FAILED = "connection.failed"
    DISCONNECTED = "connection.disconnected"
    RECONNECTED = "connection.reconnected"
    DELETED = "connection.deleted"


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """Something happened to a connection."""

    id: str
    generated: datetime
    company: Company
    connection: Connection
    event_type: ConnectionEventType


class CompanyEventType(StrEnum):
    """Codat's names of the events of a company."""

    CREATED = "company.created"
    DELETED = "company.deleted"


@dataclass(frozen=True, slots=True)
class CompanyEvent:
    """A company came or went."""

    id: str
    generated: datetime
    company: Company
    event_type: CompanyEventType


class RateLimitEventType(StrEnum):
    """Codat's names of the events of the daily quota."""

    REACHED = "client.rateLimit.reached"
    RESET = "client.rateLimit.reset"


@dataclass(frozen=True, slots=True)
class RateLimitEvent:
    """The daily quota is spent, or was given anew. It concerns no company."""

    id: str
    generated: datetime
    daily_quota: int
    quota_remaining: int
    expiry: datetime
    event_type: RateLimitEventType


Event = ReadCompleted | ConnectionEvent | CompanyEvent | RateLimitEvent
