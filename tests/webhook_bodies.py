"""The bodies of Codat's webhooks, of every kind that is used, with fields besides that are not."""

import json
from collections.abc import Mapping
from datetime import datetime

COMPANY = "8a210b68-6988-11ed-a1eb-0242ac120002"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "7Z"


def event(event_type: str, at: datetime, payload: Mapping[str, object]) -> str:
    """An event of today."""
    return json.dumps(
        {"id": "e", "eventType": event_type, "generatedDate": _time(at), "payload": payload, "somethingNew": {"a": 1}}
    )


def read_completed(
    at: datetime,
    *reads: tuple[str, str, str],
    company_id: str = COMPANY,
    initial: bool = False,
    modified: bool | None = True,
) -> str:
    """Reads that ended: of each its connection, data type and state."""
    return event(
        "read.completed.initial" if initial else "read.completed",
        at,
        {
            "referenceCompany": {"id": company_id, "name": "Toft stores", "tags": {}},
            "modifiedFromDate": None,
            "dataTypes": [
                {
                    "connectionId": connection_id,
                    "dataType": data_type,
                    "recordsModified": modified,
                    "status": state,
                    "issues": [],
                }
                for connection_id, data_type, state in reads
            ],
        },
    )


def connection(
    at: datetime,
    happened: str,
    status: str,
    *,
    connection_id: str = "connection",
    company_id: str = COMPANY,
    in_full: bool = True,
) -> str:
    """`connection.*`."""
    unchanging = {
        "platformName": "Xero",
        "sourceType": "Accounting",
        "linkUrl": f"https://link.example/{connection_id}",
        "dataConnectionErrors": None,
    }
    return event(
        f"connection.{happened}",
        at,
        {
            "referenceCompany": {"id": company_id, "name": "Toft stores"},
            "connection": {"id": connection_id, "status": status} | (unchanging if in_full else {}),
        },
    )


def company(at: datetime, happened: str, *, company_id: str = COMPANY) -> str:
    """`company.created` and `company.deleted`, with the company itself as the payload."""
    return event(f"company.{happened}", at, {"id": company_id, "name": "Toft stores", "tags": {}})


def written(at: datetime, data_type: str, *, connection_id: str = "connection", company_id: str = COMPANY) -> str:
    """`{dataType}.write.successful`."""
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


def rate_limit(at: datetime, happened: str, expiry: datetime) -> str:
    """`client.rateLimit.*`."""
    return event(
        f"client.rateLimit.{happened}",
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
    """A rule-based event about a dataset, as Codat sent them until January 2025."""
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
