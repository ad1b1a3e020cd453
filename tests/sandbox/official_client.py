"""Call every operation of Codat's API with Codat's own client, and print what became of each, as JSON.

This runs in an environment of its own, with the packages in `official_client.lock`.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import codat_platform  # type: ignore[import-not-found,unused-ignore]
from codat_platform.models import errors, shared  # type: ignore[import-not-found,unused-ignore]

Call = tuple[str, Callable[[], Any]]


def operations() -> dict[str, str]:
    """Return the method and path of each operation that the client has, by Codat's name of it."""
    found = {}
    for file in (Path(codat_platform.__file__).parent / "api").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        for name, method, path in re.findall(
            r"operation_id='([\w-]+)'(?:(?!operation_id=).)*?method='(\w+)',\s*resource_path='([^']+)'", text, re.DOTALL
        ):
            found[name] = f"{method} {path}"
    return found


def calls(codat: Any) -> Iterator[Call]:
    """Yield a call of each operation that the sandbox models."""
    created = codat.companies.create(request={"name": "Tide Bakery", "tags": {"region": "uk"}})
    company = {"company_id": created.id}
    yield "create-company", lambda: created
    yield "list-companies", lambda: codat.companies.list(request={"page_size": 5, "tags": "region=uk"})
    yield "get-company", lambda: codat.companies.get(request=company)
    yield (
        "update-company",
        lambda: codat.companies.update(request={**company, "company_update_request": {"name": "Tide Bakery Ltd"}}),
    )
    linked = codat.companies.list(request={"page_size": 1}).results[0]
    first = linked.data_connections[0]
    yield from connection_calls(codat, company, linked)
    yield from read_calls(codat, {"company_id": linked.id}, first.id)
    product = {"company_id": linked.id, "product_identifier": "lending"}
    yield "remove-product", lambda: codat.companies.remove_product(request=product)
    yield "add-product", lambda: codat.companies.add_product(request=product)
    yield from account_calls(codat, linked.id)
    yield "delete-company", lambda: codat.companies.delete(request=company)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is met, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("The condition was not met within ten seconds")
        time.sleep(0.02)


def connection_calls(codat: Any, company: dict[str, Any], linked: Any) -> Iterator[Call]:
    """Yield the calls about connections."""
    key = {"platform_key": "gbol"}
    added = codat.connections.create(request={**company, "create_connection_request": key, "request_body": key})
    connection = {**company, "connection_id": added.id}
    yield "create-connection", lambda: added
    yield "list-connections", lambda: codat.connections.list(request={"company_id": linked.id})
    yield "get-connection", lambda: codat.connections.get(request=connection)
    unlinked = {**connection, "update_connection_status": {"status": "Unlinked"}}
    yield "unlink-connection", lambda: codat.connections.unlink(request=unlinked)
    yield "delete-connection", lambda: codat.connections.delete(request=connection)


def read_calls(codat: Any, company: dict[str, Any], connection_id: str) -> Iterator[Call]:
    """Yield the calls about reads."""
    queued = codat.refresh_data.by_data_type(
        request={**company, "data_type": "invoices", "connection_id": connection_id}
    )
    dataset = {**company, "dataset_id": queued.id}
    yield "refresh-data-type", lambda: queued
    wait_until(lambda: codat.refresh_data.get_pull_operation(request=dataset).is_completed)
    yield "get-pull-operation", lambda: codat.refresh_data.get_pull_operation(request=dataset)
    yield "list-pull-operations", lambda: codat.refresh_data.list_pull_operations(request=company)
    yield "get-read-validation-results", lambda: codat.read_data.get_validation_results(request=dataset)
    yield "get-company-data-status", lambda: codat.refresh_data.get(request=company)
    product = {**company, "product_identifier": "credit-model"}
    yield "refresh-product-data", lambda: codat.companies.refresh_product_data(request=product)
    yield "refresh-company-data", lambda: codat.refresh_data.all(request=company)
    custom = {**company, "connection_id": connection_id, "custom_data_identifier": "budgets"}
    yield "refresh-custom-data-type", lambda: codat.custom_data_type.refresh(request=custom)


def account_calls(codat: Any, company_id: str) -> Iterator[Call]:
    """Yield the calls about the account, its webhooks and its integrations."""
    consumer = codat.webhooks.create_consumer(
        request={"url": "http://127.0.0.1:9/", "event_types": ["read.completed"], "disabled": True}
    )
    yield "create-webhook-consumer", lambda: consumer
    yield "list-webhook-consumers", codat.webhooks.list_consumers
    yield "delete-webhook-consumer", lambda: codat.webhooks.delete_consumer(request={"webhook_id": consumer.id})
    yield "list-integrations", lambda: codat.integrations.list(request={"page_size": 3})
    yield "get-integration", lambda: codat.integrations.get(request={"platform_key": "gbol"})
    yield "get-profile", codat.settings.get_profile
    yield "get-profile-syncSettings", codat.settings.get_sync_settings
    settings = {"company_id": company_id}
    yield "get-company-syncSettings", lambda: codat.companies.get_company_sync_settings(request=settings)


def main() -> None:
    """Make all calls to the Codat at the address that is the only argument, and print their outcomes."""
    security = shared.Security(auth_header=os.environ["AUTHORIZATION"])
    outcomes = {}
    with codat_platform.CodatPlatform(security=security, server_url=sys.argv[1]) as codat:
        for name, call in calls(codat):
            try:
                call()
                outcomes[name] = ""
            except (errors.CodatPlatformError, ValueError) as error:
                outcomes[name] = f"{type(error).__name__}: {error}"
    json.dump({"operations": operations(), "outcomes": outcomes}, sys.stdout)


if __name__ == "__main__":
    main()
