"""The JSON bodies of Codat's responses and webhooks."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TypeAlias
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, uuid5

from codat_sandbox.model import (
    Company,
    CompanyEvent,
    Connection,
    ConnectionEvent,
    Dataset,
    DatasetStatus,
    DataStatus,
    Event,
    ProductEvent,
    RateLimitEvent,
    Read,
    ReadCompleted,
)
from codat_sandbox.platforms import CUSTOM, FETCH_ON_FIRST_LINK, DataType, Platform
from codat_sandbox.syncs import ERROR_MESSAGES

Json: TypeAlias = dict[str, object]

_API = "https://api.codat.io"
_PORTAL = "https://app.codat.io/companies"


def time(value: datetime) -> str:
    """Format a time of a sync: in UTC, with 7 decimals of a second."""
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}{value.microsecond % 10}Z"


def time_or_null(value: datetime | None) -> str | None:
    """Format a time that may be None."""
    return None if value is None else time(value)


def company(value: Company, links: str) -> Json:
    """Return a company with its connections, whose link URLs begin with `links`."""
    return {**_company_details(value), "dataConnections": [connection(value, c, links) for c in value.connections]}


def _company_details(value: Company) -> Json:
    return {
        "id": value.id,
        "name": value.name,
        "description": None,
        "redirect": f"https://link.codat.io/company/{value.id}",
        "lastSync": time_or_null(value.last_sync),
        "created": _whole_second(value.created),
        "createdByUserName": None,
        "products": list(value.products),
        "tags": value.tags,
        "referenceParentCompany": None,
        "referenceSubsidiaryCompanies": [],
    }


def connection(owner: Company, value: Connection, links: str) -> Json:
    """Return a connection of the company `owner`, whose link URL begins with `links`."""
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
        "integrationId": integration_id(value.platform),
        "integrationKey": value.platform.integration_key,
        "sourceId": value.source_id,
        "sourceType": value.platform.source_type,
        "platformName": value.platform.name,
        "linkUrl": link_url(links, owner.id, value.id),
        "status": value.status,
        "lastSync": time_or_null(value.last_sync),
        "created": _whole_second(value.created),
        "dataConnectionErrors": errors,
        "connectionInfo": _connection_info(value),
    }


def link_url(links: str, company_id: str, connection_id: str) -> str:
    """Return the URL, beginning with `links`, at which a customer links a connection."""
    return f"{links}/companies/{company_id}/connections/{connection_id}/start"


def _connection_info(value: Connection) -> Json | None:
    """Return Codat's note that an on-premise connection's machine is offline; None if it is not."""
    if value.platform.on_premise and not value.machine_online:
        return {"status": "Offline", "message": f"{value.platform.name} is not running on the customer's machine."}
    return None


def pull_operation(value: Dataset) -> Json:
    is_complete = value.status is DatasetStatus.COMPLETE
    body: Json = {
        "id": value.id,
        "companyId": value.company_id,
        "connectionId": value.connection_id,
        "dataType": value.data_type.removeprefix(CUSTOM),
        "status": value.status,
        "statusDescription": value.description,
        "errorMessage": ERROR_MESSAGES.get(value.status),
        "requested": time(value.requested),
        "progress": value.progress,
        "isCompleted": is_complete,
        "isErrored": not value.is_running and not is_complete,
    }
    if value.completed is not None:
        body["completed"] = time(value.completed)
    return body


def data_statuses(statuses: Mapping[str, DataStatus | None]) -> Json:
    """Return the body of get-company-data-status, keyed by data type."""
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


def validation(value: Dataset) -> Json:
    message = ERROR_MESSAGES[value.status] if value.status is DatasetStatus.VALIDATION_ERROR else None
    errors = [] if message is None else [{"ruleId": f"{value.data_type}-001", "itemId": value.id, "message": message}]
    return {"errors": errors, "warnings": []}


def integration(value: Platform) -> Json:
    readable = [{"featureType": "Get", "featureState": "Release"}]
    return {
        "key": value.integration_key,
        "logoUrl": f"https://static.codat.io/public/officialLogos/Full/{value.integration_key}",
        "name": value.name,
        "enabled": True,
        "sourceId": str(uuid5(NAMESPACE_URL, f"source-{value.integration_key}")),
        "sourceType": value.source_type,
        "integrationId": integration_id(value),
        "isOfflineConnector": value.on_premise,
        "isBeta": False,
        # Codat's description has the property `dataType`, and requires `datatype`.
        "datatypeFeatures": [
            {"dataType": each, "datatype": each, "supportedFeatures": readable} for each in value.data_types
        ],
    }


@cache
def integration_id(value: Platform) -> str:
    return str(uuid5(NAMESPACE_URL, value.integration_key))


def sync_settings(schedule: Mapping[DataType, int]) -> list[Json]:
    """Return Codat's sync settings of all data types. `schedule` holds hours after the last sync; 0 is never."""
    return [
        {
            "dataType": data_type,
            "fetchOnFirstLink": data_type in FETCH_ON_FIRST_LINK,
            "syncSchedule": schedule.get(data_type, 0),
            "syncOrder": order,
            "syncFromWindow": 24,
            "monthsToSync": 24,
            "isLocked": False,
        }
        for order, data_type in enumerate(DataType)
    ]


def page(path: str, items: Sequence[object], page_number: int, page_size: int, others: Mapping[str, str]) -> Json:
    """Return one page of the list `items` at `path`. The links to other pages keep the query parameters `others`."""

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


def error(status: int, message: str, correlation_id: str) -> Json:
    return {
        "statusCode": status,
        "service": "PublicApi",
        "error": message,
        "correlationId": correlation_id,
        "validation": None,
        "canBeRetried": "Unknown",
        "detailedErrorCode": 0,
    }


def webhook(event: Event, links: str) -> Json:
    """Return the body of the webhook that reports `event`; link URLs begin with `links`."""
    return {
        "id": event.id,
        "eventType": event.event_type,
        "generatedDate": time(event.generated),
        "payload": _payload(event, links),
    }


def _payload(event: Event, links: str) -> Json:
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
                "connection": connection(event.company, event.connection, links),
            }
        case CompanyEvent():
            return _company_details(event.company)
        case ProductEvent():
            return {
                "id": event.company.id,
                "name": event.company.name,
                "description": None,
                "productId": event.product,
                "productName": event.product,
                "products": list(event.company.products),
            }
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
                "links": {
                    "logs": f"{_API}/companies/{owner.id}/sync/{value.dataset_id}/validation",
                    "portal": f"{_PORTAL}/{owner.id}/pull-history",
                },
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
    """Format a time of a creation: in UTC, without decimals."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
