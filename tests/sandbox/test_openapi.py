"""The sandbox's responses and webhooks conform to Codat's OpenAPI description. Skipped where its file is missing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from codat_sandbox.codat_api import CodatApi
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import Receiver, wait_until

OPENAPI = Path(__file__).parents[3] / "shared" / "codat" / "platform-openapi-full.json"

OPERATIONS = {route.name for route in CodatApi(Sandbox(Settings(companies=0), "key")).routes()}
"""The operations that the sandbox has."""
UNDESCRIBED = {
    "create-company",
    "update-company",
    "delete-company",
    "create-connection",
    "unlink-connection",
    "delete-connection",
}
"""Those that the file lacks: the official client of Codat's calls them (`test_official_client.py`)."""
NOT_SENT = {"{dataType}.write.successful", "{dataType}.write.unsuccessful", "client.rateLimit.reset"}

pytestmark = pytest.mark.skipif(not OPENAPI.exists(), reason=f"Codat's OpenAPI file is not at {OPENAPI}")


class Description:
    """Codat's OpenAPI description as JSON schemas."""

    def __init__(self, path: Path) -> None:
        self.content = _with_null_as_type(json.loads(path.read_text("utf-8-sig")))
        resource = Resource.from_contents(self.content, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource("codat", resource)

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.content["paths"].items():
            for method, operation in methods.items():
                if method != "parameters":
                    yield method.upper(), path, operation

    def check_response(self, operation_id: str, response: httpx.Response) -> None:
        """Fail unless the response conforms to the operation's description."""
        [operation] = [o for _, _, o in self.operations() if o["operationId"] == operation_id]
        responses = operation["responses"]
        assert str(response.status_code) in responses, response.text
        described = responses[str(response.status_code)]
        if "$ref" in described:
            described = self.content["components"]["responses"][described["$ref"].rsplit("/", 1)[1]]
        if "content" in described:
            self.check(described["content"]["application/json"]["schema"], response.json())
        else:
            assert response.content == b""

    def check_webhook(self, event: dict[str, Any]) -> None:
        """Fail unless the event conforms to the webhook's description."""
        body = self.content["webhooks"][described_as(event["eventType"])]["post"]["requestBody"]
        self.check(body["content"]["application/json"]["schema"], event)

    def check(self, schema: dict[str, Any], value: object) -> None:
        schema = _with_absolute_references(schema)
        Draft202012Validator(schema, registry=self._registry, format_checker=FormatChecker()).validate(value)


def described_as(event_type: str) -> str:
    """Return the event of Codat's description that has the payload of another one: it describes not all forms."""
    return "read.completed" if "read.completed" in event_type else event_type


def _with_null_as_type(node: Any) -> Any:
    """Replace OpenAPI 3.0's `nullable`, which this file of version 3.1 still uses, with a null type."""
    if isinstance(node, list):
        return [_with_null_as_type(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _with_null_as_type(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


def _with_absolute_references(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_absolute_references(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: f"codat{value}" if name == "$ref" else _with_absolute_references(value) for name, value in node.items()
    }


@pytest.fixture(scope="module")
def description() -> Description:
    return Description(OPENAPI)


@pytest.fixture
def codat_with_failures(codat: httpx.Client) -> httpx.Client:
    """Return a client of a sandbox whose companies have been synced, with and without errors."""
    codat.post(
        "/sandbox/reset",
        json={"companies": 24, "fails_first": 0.3, "not_supported": 0.1, "permissions_error": 0.1, "needs_relink": 0.1}
        | {"custom_data_types": {"Xero": ["budgets"]}, "custom_products": {"credit-model": ["invoices", "bills"]}},
    )
    for company in codat.get("/companies").json()["results"]:
        codat.post(f"/companies/{company['id']}/data/all")
    wait_until(lambda: not any(feed["isRunning"] for feed in codat.get("/sandbox/state").json()["feeds"]))
    return codat


def test_every_operation_responds_as_described(codat_with_failures: httpx.Client, description: Description) -> None:
    seen = set()
    for operation_id, method, path, body in _requests(codat_with_failures):
        response = codat_with_failures.request(method, path, json=body)
        description.check_response(operation_id, response)
        seen.add(operation_id)

    assert seen == OPERATIONS - UNDESCRIBED


def _requests(codat: httpx.Client) -> Iterator[tuple[str, str, str, dict[str, object] | None]]:
    """Yield requests to every operation: its id, method, path and body."""
    yield "list-companies", "GET", "/companies?pageSize=7&page=2&orderBy=-created", None
    yield "list-companies", "GET", "/companies?tags=region=uk%26%26team=lending", None
    yield "list-companies", "GET", "/companies?query=nonsense", None
    yield "get-company", "GET", "/companies/00000000-0000-0000-0000-000000000000", None
    yield "get-profile", "GET", "/profile", None
    yield "list-integrations", "GET", "/integrations?query=sourceType=Banking", None
    yield "get-integration", "GET", "/integrations/gbol", None
    yield "get-integration", "GET", "/integrations/none", None
    yield "get-profile-syncSettings", "GET", "/profile/syncSettings", None
    for company in codat.get("/companies").json()["results"]:
        path = f"/companies/{company['id']}"
        yield "get-company", "GET", path, None
        yield "list-connections", "GET", f"{path}/connections", None
        yield "list-connections", "GET", f"{path}/connections?query=status=Linked", None
        for connection in company["dataConnections"]:
            yield "get-connection", "GET", f"{path}/connections/{connection['id']}", None
        yield "get-company-data-status", "GET", f"{path}/dataStatus", None
        yield "list-pull-operations", "GET", f"{path}/data/history?orderBy=-requested&pageSize=3", None
        for dataset in codat.get(f"{path}/data/history").json()["results"][-3:]:
            yield "get-pull-operation", "GET", f"{path}/data/history/{dataset['id']}", None
            yield "get-read-validation-results", "GET", f"{path}/sync/{dataset['id']}/validation", None
        yield "get-company-syncSettings", "GET", f"{path}/syncSettings", None
        yield "refresh-data-type", "POST", f"{path}/data/queue/invoices", None
        yield "refresh-data-type", "POST", f"{path}/data/queue/invoices", None
        yield "refresh-company-data", "POST", f"{path}/data/all", None
        refresh = f"{path}/products/credit-model/refresh"
        yield "refresh-product-data", "POST", refresh, {"dataTypes": ["bills"]}
        yield "refresh-product-data", "POST", refresh, None
        yield "refresh-product-data", "POST", f"{path}/products/lending/refresh", None
        yield "refresh-product-data", "POST", f"{path}/products/unknown/refresh", None
        for product in ("lending", "credit-model"):
            yield "remove-product", "DELETE", f"{path}/products/{product}", None
            yield "remove-product", "DELETE", f"{path}/products/{product}", None
            yield "add-product", "PUT", f"{path}/products/{product}", None
        yield "add-product", "PUT", f"{path}/products/unknown", None
        for connection in company["dataConnections"]:
            custom = f"{path}/connections/{connection['id']}/data/queue/custom/budgets"
            yield "refresh-custom-data-type", "POST", custom, None
    consumer: dict[str, object] = {
        "url": "http://127.0.0.1:9/webhooks",
        "eventTypes": ["read.completed"],
        "companyTags": ["region:uk"],
    }
    yield "create-webhook-consumer", "POST", "/webhooks", consumer
    yield "create-webhook-consumer", "POST", "/webhooks", {"url": "nonsense"}
    yield "list-webhook-consumers", "GET", "/webhooks", None
    [registered] = codat.get("/webhooks").json()["results"]
    yield "delete-webhook-consumer", "DELETE", f"/webhooks/{registered['id']}", None
    yield "delete-webhook-consumer", "DELETE", f"/webhooks/{registered['id']}", None


@pytest.mark.parametrize(("reason", "status"), [("key", 401), ("quota", 429)])
def test_every_operation_returns_errors_as_described(
    codat: httpx.Client, description: Description, reason: str, status: int
) -> None:
    headers = {"Authorization": "Basic d3Jvbmc="} if reason == "key" else {}
    if reason == "quota":
        codat.patch("/sandbox/settings", json={"daily_quota": 0})
    for method, path, operation in description.operations():
        if operation["operationId"] not in OPERATIONS:
            continue
        response = codat.request(method, path, headers=headers)

        assert response.status_code == status
        description.check_response(operation["operationId"], response)


def test_every_webhook_is_sent_as_described(codat: httpx.Client, receiver: Receiver, description: Description) -> None:
    codat.patch("/sandbox/settings", json={"custom_products": {"credit-model": ["invoices", "bills"]}})
    codat.post("/webhooks", json={"url": f"http://127.0.0.1:{receiver.port}", "eventTypes": []})
    company = codat.post("/sandbox/companies", json={"platforms": ["Xero"]}).json()
    path = f"/sandbox/companies/{company['id']}"
    # Of this one, no read fails because its link lapses.
    other = codat.post("/sandbox/companies", json={"platforms": ["Xero"]}).json()
    connection = codat.post(f"{path}/connections", json={"platform": "Plaid"}).json()
    for status in ("PendingAuth", "Linked", "Deauthorized", "Linked"):
        codat.patch(f"{path}/connections/{connection['id']}", json={"status": status})
    codat.delete(f"/companies/{company['id']}/connections/{connection['id']}")
    codat.delete(f"/companies/{company['id']}/products/lending")
    codat.put(f"/companies/{company['id']}/products/lending")
    read = {"read.completed", "read.completed.successful"}
    first_read = {
        f"{prefix}{form}{end}" for prefix in ("", "credit-model.") for form in read for end in ("", ".initial")
    }
    everything = (set(description.content["webhooks"]) - NOT_SENT) | first_read

    seen: set[str] = set()
    while missing := everything - seen:
        if missing == {"read.completed.successful", "company.deleted", "client.rateLimit.reached"}:
            codat.post(f"/companies/{other['id']}/data/queue/invoices")
        if missing == {"company.deleted", "client.rateLimit.reached"}:
            codat.delete(f"/companies/{company['id']}")
        if missing == {"client.rateLimit.reached"}:
            codat.patch("/sandbox/settings", json={"daily_quota": 0})
            codat.get("/companies")
        event = json.loads(receiver.next().body)
        description.check_webhook(event)
        seen.add(event["eventType"])
