"""What Codat tells by webhook, whatever it calls it and however it says it. Times are Codat's own."""

from dataclasses import dataclass
from datetime import datetime

from freshness.domain.company import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEnded:
    """A read of a data type from a connection ended in `state`. `records_modified` is `None` where it is not told.

    `is_first` is whether nothing had been read before: then `records_modified` says nothing.
    """

    company_id: str
    connection_id: str
    data_type: str
    at: datetime
    state: str
    records_modified: bool | None
    is_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEnded:
    """A dataset ended in `state`, at a time that is not told: only that it was after it had been requested."""

    company_id: str
    data_type: str
    dataset_id: str
    state: str
    records_modified: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTold:
    """A connection is as Codat said at its `status_at`."""

    company_id: str
    connection: Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyCreated:
    """A company is there to be watched."""

    company_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyDeleted:
    """A company is gone."""

    company_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReached:
    """Codat takes no calls before `until`."""

    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReset:
    """Codat takes calls again."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWritten:
    """Our user wrote data through Codat to the platform: Codat's copy lacks it."""

    company_id: str
    connection_id: str
    data_type: str
    at: datetime


CompanyEvent = ReadEnded | DatasetEnded | ConnectionTold | CompanyCreated | CompanyDeleted | DataWritten
Event = CompanyEvent | QuotaReached | QuotaReset
