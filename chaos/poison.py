"""Companies whose data is hostile: sizes, names, nulls and times that Codat should never send."""

import json
from collections.abc import Iterator
from typing import Any

LARGE = 10_000
"""Connections of the largest company."""
SURROGATE = "\ud800"


def companies() -> Iterator[dict[str, Any]]:
    """Yield companies as Codat's list would have them, each hostile in its own way."""
    yield _company("ten-thousand-connections", dataConnections=[_connection(f"c{n}") for n in range(LARGE)])
    yield _company("surrogate-in-name", name=f"Sm{SURROGATE}th & Sons")
    yield _company("surrogate-in-tag", tags={"region": SURROGATE})
    yield _company("surrogate-in-platform", dataConnections=[_connection("c", platformName=SURROGATE)])
    yield _company("i" * 3000)
    yield _company("long-name", name="n" * 500_000)
    yield _company("null-name", name=None, tags=None)
    yield _company("null-connections", dataConnections=None)
    yield _company("tags-of-numbers", tags={"n": 1})
    yield _company("long-connection-id", dataConnections=[_connection("c" * 2000)])
    yield _company("unknown-status", dataConnections=[_connection("c", status="SomethingNew")])
    yield _company("nested", dataConnections=[{"id": {}}])
    yield _company("controls", name="a\x00b\x1fc\u2028d")


def data_status(company_id: str) -> dict[str, Any]:
    """Return the hostile data status of a company."""
    match company_id:
        case "long-name":
            return {"t" * 2000: _status("t" * 2000)}
        case "null-name":
            return {"invoices": None, "bills": {"dataType": None}, "items": _status("items", currentStatus=5)}
        case "controls":
            return {"invoices": _status("invoices", lastSuccessfulSync="9999-12-31T23:59:59.9999999Z")}
        case "unknown-status":
            return {SURROGATE: _status(SURROGATE)}
        case _:
            return {"invoices": _status("invoices", lastSuccessfulSync="0001-01-01T00:00:00Z")}


def body(value: object) -> bytes:
    """Return a response's body. A lone surrogate is sent as JSON's escape of it."""
    return json.dumps(value).encode()


def _company(company_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": company_id, "name": company_id, "tags": {}, "dataConnections": [_connection("c")]} | fields


def _connection(connection_id: str, **fields: Any) -> dict[str, Any]:
    connection = {
        "id": connection_id,
        "platformName": "Xero",
        "sourceType": "Accounting",
        "status": "Linked",
        "linkUrl": "https://link.example/" + "x" * 60,
    }
    return connection | fields


def _status(data_type: str, **fields: Any) -> dict[str, Any]:
    return {"dataType": data_type, "currentStatus": "Complete", "latestSyncId": "d"} | fields
