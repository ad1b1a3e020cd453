"""The JSON of Codat's answers and webhooks, made from the model's values."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, uuid5

from local.codat_sandbox.model import (
    Company,
    CompanyEvent,
    Connection,
    ConnectionEvent,
    Dataset,
    DatasetStatus,
    DataStatus,
    Event,
    RateLimitEvent,
    Read,
    ReadCompleted,
    SyncSetting,
)
from local.codat_sandbox.platforms import DataType
from local.codat_sandbox.syncs import ERROR_MESSAGES

Json: TypeAlias = dict[str, object]

_PORTAL = "https://app.codat.io/companies"


def time(value: datetime) -> str:
    """As Codat writes the times of syncs: UTC, with 7 decimals of a second."""
    text = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text}{value.microsecond % 10}Z"


def time_or_null(value: datetime | None) -> str | None:
    """The same, of a time that may be unknown."""
    return None if value is None else time(value)


def company(value: Company) -> Json:
    """A company with its connections."""
    return {**_company_details(value), "dataConnections": [connection(value, c) for c in value.connections]}


def _company_details(value: Company) -> Json:
    return {
        "id": value.id,
        "name": value.name,
        "description": None,
        "redirect": f"https://link.codat.io/company/{value.id}",
        "lastSync": time_or_null(value.last_sync),
        "created": _whole_second(value.created),
        "createdByUserName": None,
        "products": [],
        "tags": value.tags,
        "referenceSubsidiaryCompanies": [],
    }


def connection(owner: Company, value: Connection) -> Json:
    """A connection of the company `owner`."""
    errors = (
        []
        if value.error is None
        else [
            {
                "statusCode": "401",
                "statusText": "Unauthorized",
                "errorMessage": value.error,
                "erroredOnUtc": time(value.last_sync or value.created),
                "status": "Active",
            }
        ]
    )
    return {
        "id": value.id,
        "integrationId": str(uuid5(NAMESPACE_URL, value.platform.integration_key)),
        "integrationKey": value.platform.integration_key,
        "sourceId": value.source_id,
        "sourceType": value.platform.source_type,
        "platformName": value.platform.name,
        "linkUrl": f"https://link-api.codat.io/companies/{owner.id}/connections/{value.id}/start",
        "status": value.status,
        "lastSync": time_or_null(value.last_sync),
        "created": _whole_second(value.created),
        "dataConnectionErrors": errors,
    }


def pull_operation(value: Dataset) -> Json:
    """A dataset."""
    is_complete = value.status is DatasetStatus.COMPLETE
    answer: Json = {
        "id": value.id,
        "companyId": value.company_id,
        "connectionId": value.connection_id,
        "dataType": value.data_type,
        "status": value.status,
        "statusDescription": None,
        "errorMessage": ERROR_MESSAGES.get(value.status),
        "requested": time(value.requested),
        "progress": value.progress,
        "isCompleted": is_complete,
        "isErrored": not value.is_running and not is_complete,
    }
    if value.completed is not None:
        answer["completed"] = time(value.completed)
    return answer


def data_statuses(statuses: Mapping[DataType, DataStatus | None]) -> Json:
    """The answer of `dataStatus`, keyed by data type."""
    return {data_type: None if status is None else _data_status(status) for data_type, status in statuses.items()}


def _data_status(value: DataStatus) -> Json:
    fields: Json = {
        "dataType": value.data_type,
        "lastSuccessfulSync": time_or_null(value.last_successful_sync),
        "currentStatus": value.current_status,
        "latestSyncId": value.latest_sync_id,
        "latestSuccessfulSyncId": value.latest_successful_sync_id,
    }
    return {name: field for name, field in fields.items() if field is not None}


def sync_settings(settings: Sequence[SyncSetting]) -> list[Json]:
    """The list of Codat's settings for each data type."""
    return [
        {
            "dataType": setting.data_type,
            "fetchOnFirstLink": setting.fetch_on_first_link,
            "syncSchedule": setting.sync_schedule,
            "syncOrder": setting.sync_order,
            "syncFromWindow": 24,
            "monthsToSync": 24,
            "isLocked": False,
        }
        for setting in settings
    ]


def page(path: str, items: Sequence[object], page_number: int, page_size: int, others: Mapping[str, str]) -> Json:
    """One page of `items`, the list at `path`, with its links, which keep the `others` of the request's parameters."""

    def link(number: int) -> Json:
        parameters = {"page": str(number), "pageSize": str(page_size), **others}
        return {"href": f"{path}?{urlencode(parameters)}"}

    first = (page_number - 1) * page_size
    links: Json = {"self": {"href": path}, "current": link(page_number)}
    if first + page_size < len(items):
        links["next"] = link(page_number + 1)
    if page_number > 1:
        links["previous"] = link(page_number - 1)
    return {
        "results": items[first : first + page_size],
        "pageNumber": page_number,
        "pageSize": page_size,
        "totalResults": len(items),
        "_links": links,
    }


def error(status: int, message: str, correlation_id: str, *, can_be_retried: str = "Unknown") -> Json:
    """The body of a refusal."""
    return {
        "statusCode": status,
        "service": "PublicApi",
        "error": message,
        "correlationId": correlation_id,
        "validation": None,
        "canBeRetried": can_be_retried,
        "detailedErrorCode": 0,
    }


def webhook(event: Event) -> Json:
    """The body of the webhook that tells of `event`."""
    return {
        "id": event.id,
        "eventType": event.event_type,
        "generatedDate": time(event.generated),
        "payload": _payload(event),
    }


def _payload(event: Event) -> Json:
    match event:
        case ReadCompleted():
            fetched = [read.last_fetched for read in event.reads if read.last_fetched is not None]
            return {
                "referenceCompany": _reference(event.company),
                "modifiedFromDate": time_or_null(min(fetched, default=None)),
                "dataTypes": [_read(event.company, read) for read in event.reads],
            }
        case ConnectionEvent():
            return {
                "referenceCompany": _reference(event.company),
                "connection": connection(event.company, event.connection),
            }
        case CompanyEvent():
            return _company_details(event.company)
        case RateLimitEvent():
            return {
                "dailyQuota": event.daily_quota,
                "quotaRemaining": event.quota_remaining,
                "expiryDate": _whole_second(event.expiry),
            }


def _reference(value: Company) -> Json:
    return {
        "id": value.id,
        "name": value.name,
        "description": None,
        "links": {"portal": f"{_PORTAL}/{value.id}/summary"},
        "tags": value.tags,
    }


def _read(owner: Company, value: Read) -> Json:
    message = ERROR_MESSAGES.get(value.status)
    issues = (
        []
        if message is None
        else [
            {
                "type": f"error.{value.status}",
                "message": message,
                "links": {"portal": f"{_PORTAL}/{owner.id}/pull-history"},
            }
        ]
    )
    return {
        "connectionId": value.connection_id,
        "dataType": value.data_type,
        "recordsModified": value.records_modified,
        "status": value.status,
        "issues": issues,
    }


def _whole_second(value: datetime) -> str:
    """As Codat writes the times at which things were created: without decimals."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
