"""Custom products in the sandbox: their data types are refreshed together, and none of Codat's standard products."""

from datetime import timedelta

import httpx
import pytest

from codat_sandbox.model import Event, ReadCompleted, RequestedBy
from codat_sandbox.platforms import XERO, DataType
from codat_sandbox.server import RunningSandbox
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import MINUTE, NOON, backend_with

SLOW = timedelta(hours=1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings with a custom product, whose syncs run for long."""
    products = {"credit-model": (DataType.INVOICES, DataType.BILLS)}
    return settings.model_copy(
        update={"custom_products": products, "sync_time_min": SLOW, "sync_time_max": SLOW, "sync_schedule": {}}
    )


@pytest.fixture
def path(codat: httpx.Client) -> str:
    company = codat.get("/companies").json()["results"][0]
    assert company["products"] == ["credit-model", "lending"]
    return f"/companies/{company['id']}"


def running(codat: httpx.Client, path: str) -> set[str]:
    datasets = codat.get(f"{path}/data/history?pageSize=1000").json()["results"]
    return {each["dataType"] for each in datasets if not (each["isCompleted"] or each["isErrored"])}


def test_a_refresh_queues_the_data_types_that_it_lists_and_returns_no_ids(codat: httpx.Client, path: str) -> None:
    response = codat.post(f"{path}/products/credit-model/refresh", json={"dataTypes": ["bills"]})

    assert (response.status_code, response.content) == (202, b"")
    assert "bills" in running(codat, path)
    assert "invoices" not in running(codat, path)


def test_a_refresh_without_a_body_queues_all_data_types_of_the_product(codat: httpx.Client, path: str) -> None:
    assert codat.post(f"{path}/products/credit-model/refresh").status_code == 202
    assert running(codat, path) >= {"bills", "invoices"}


def test_a_product_that_is_added_is_read_at_once_and_one_that_is_removed_cannot_be_refreshed(
    codat: httpx.Client, path: str, sandbox: RunningSandbox
) -> None:
    company_id = path.removeprefix("/companies/")

    assert codat.delete(f"{path}/products/credit-model").status_code == 204
    assert codat.get(path).json()["products"] == ["lending"]
    assert codat.post(f"{path}/products/credit-model/refresh").status_code == 404
    assert codat.put(f"{path}/products/credit-model").status_code == 204
    assert codat.get(path).json()["products"] == ["lending", "credit-model"]

    history = sandbox.do(lambda sandbox: sandbox.backend.history(company_id, sandbox.now()))
    added = [each for each in history if each.requested_by is RequestedBy.FIRST_LINK]
    assert {each.data_type for each in added} >= {DataType.BILLS, DataType.INVOICES}


QUICK = timedelta(milliseconds=1)


def test_the_syncs_of_a_product_are_reported_by_events_with_its_identifier(settings: Settings) -> None:
    """From the first link, and from a refresh, while those of the account are reported without one."""
    backend, company = backend_with(settings, XERO, sync_time_min=QUICK, sync_time_max=QUICK)
    linked = backend.advance(NOON + MINUTE)
    backend.refresh_product(company.id, "credit-model", ["bills"], NOON + MINUTE)
    backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)
    refreshed = backend.advance(NOON + 2 * MINUTE)

    def types(events: list[Event], event_type: str) -> set[str]:
        found = [each for each in events if isinstance(each, ReadCompleted) and each.event_type == event_type]
        return {read.data_type for each in found for read in each.reads}

    for ending in ("", ".successful", ".initial", ".successful.initial"):
        assert types(linked, f"credit-model.read.completed{ending}") == {"invoices", "bills"}
        assert "customers" in types(linked, f"read.completed{ending}")
        assert not types(linked, f"read.completed{ending}") & {"invoices", "bills"}
    for ending in ("", ".successful"):
        assert types(refreshed, f"credit-model.read.completed{ending}") == {"bills"}
        assert types(refreshed, f"read.completed{ending}") == {"invoices"}


def test_a_refresh_while_a_sync_of_the_product_runs_is_refused(codat: httpx.Client, path: str) -> None:
    codat.post(f"{path}/products/credit-model/refresh", json={"dataTypes": ["bills"]})

    response = codat.post(f"{path}/products/credit-model/refresh", json={"dataTypes": ["invoices"]})

    assert response.status_code == 400
    assert "while a read operation is in progress" in response.json()["error"]


@pytest.mark.parametrize(
    ("product", "body", "status"),
    [
        ("lending", {}, 400),
        ("credit-model", {"dataTypes": ["payments"]}, 400),
        ("credit-model", {"unknown": 1}, 400),
        ("unknown", {}, 404),
    ],
)
def test_other_refreshes_of_products_are_refused(
    codat: httpx.Client, path: str, product: str, body: dict[str, object], status: int
) -> None:
    assert codat.post(f"{path}/products/{product}/refresh", json=body).status_code == status
