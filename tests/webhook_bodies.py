"""Bodies of all types of Codat's webhooks that are processed. They include fields that are not used."""

import json
from collections.abc import Mapping
from datetime import datetime

COMPANY = "8a210b68-6988-11ed-a1eb-0242ac120002"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "7Z"


def event(event_type: str, at: datetime, payload: Mapping[str, object]) -> str:
    """Return an event in Codat's current format, with a field that is not in its documentation."""
    return json.dumps(
        {"id": "e", "eventType": event_type, "generatedDate": _time(at), "payload": payload, "somethingNew": {"a": 1}}
    )


def read_completed(
    at: datetime,
    *reads: tuple[str, str, str],
    company_id: str = COMPANY,
    initial: bool = False,
    modified: bool | None = True,
    form: str = "read.completed",
    issues: object = (),
    modified_from: str | None = None,
) -> str:
    """Return a `read.completed` event in one of its forms, with `.initial` at its end if `initial`.

    `reads` holds the connection id, data type and status of each read, all with the same `issues`.
    """
    return event(
        f"{form}.initial" if initial else form,
        at,
        {
            "referenceCompany": {"id": company_id, "name": "Toft stores", "tags": {}},
            "modifiedFromDate": modified_from,
            "dataTypes": [
                {
                    "connectionId": connection_id,
                    "dataType": data_type,
                    "recordsModified": modified,
                    "status": state,
                    "issues": issues,
                }
                for connection_id, data_type, state in reads
            ],
        },
    )


def connection(
    at: datetime,
    change: str,
    status: str,
    *,
    connection_id: str = "connection",
    company_id: str = COMPANY,
    in_full: bool = True,
    errors: object = None,
) -> str:
    """Return a `connection.{change}` event, with only the required fields of the connection unless `in_full`."""
    details = {
        "platformName": "Xero",
        "sourceType": "Accounting",
        "linkUrl": f"https://link.example/{connection_id}",
        "dataConnectionErrors": errors,
    }
    return event(
        f"connection.{change}",
        at,
        {
            "referenceCompany": {"id": company_id, "name": "Toft stores"},
            "connection": {"id": connection_id, "status": status} | (details if in_full else {}),
        },
    )


def company(at: datetime, change: str, *, company_id: str = COMPANY) -> str:
    """Return a `company.{change}` event, whose payload is the company itself."""
    return event(f"company.{change}", at, {"id": company_id, "name": "Toft stores", "tags": {}})


def written(at: datetime, data_type: str, *, connection_id: str = "connection", company_id: str = COMPANY) -> str:
    """Return a `{data_type}.write.successful` event."""
    return event(
        f"{data_type}.write.successful",
        at,
        {
            "id": "operation",
            "type": "Create",
            "referenceCompany": {"id": company_id, "name": "Toft stores"},
            "connectionId": connection_id,
            "requestedOnDate": _time(at),
            "completedOnDate": _time(at),
            "status": "Success",
            "record": {"id": "record"},
            "attachmentId": None,
        },
    )


def rate_limit(at: datetime, change: str, expiry: datetime) -> str:
    """Return a `client.rateLimit.{change}` event."""
    return event(
        f"client.rateLimit.{change}",
        at,
        {"dailyQuota": 1000, "quotaRemaining": 0, "expiryDate": _time(expiry)},
    )


def rule(
    rule_type: str,
    dataset_id: str,
    *,
    data_type: str = "invoices",
    status: str | None = None,
    company_id: str = COMPANY,
) -> str:
    """Return a rule-based event about a dataset, in the format that Codat sent until January 2025."""
    data = {"dataType": data_type, "datasetId": dataset_id} | ({"datasetStatus": status} if status else {})
    return json.dumps(
        {
            "AlertId": "a9367074-b5c3-42c4-9be4-be129f43577e",
            "RuleType": rule_type,
            "RuleId": "70af3071-65d9-4ec3-b3cb-5283e8d55dac",
            "ClientId": "bae71d36-ff47-420a-b4a6-f8c9ddf41140",
            "CompanyId": company_id,
            "DataConnectionId": "connection",
            "Message": "Something happened",
            "Data": data,
        }
    )
