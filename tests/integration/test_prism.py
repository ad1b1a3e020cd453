"""The client against Prism, a server that follows Codat's description and that this project did not write.

Prism responds with the description's examples, or in dynamic mode with random values that fit it. It sends no rate
limit headers. Skipped where the description or Prism is not installed.
"""

import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import httpx
import pytest

from freshness.codat import errors
from freshness.codat.client import Codat
from freshness.codat.models import PullOperation
from local import codat as local_codat
from local.processes import free_port, guarded_processes

ROOT = Path(__file__).parents[2]
OPENAPI = ROOT.parent / "shared" / "codat" / "platform-openapi-full.json"
PRISM = ROOT / "tests" / "node_modules" / ".bin" / "prism"

Item = TypeVar("Item")

pytestmark = [
    pytest.mark.skipif(not OPENAPI.exists(), reason=f"Codat's OpenAPI file is not at {OPENAPI}"),
    pytest.mark.skipif(not PRISM.exists(), reason=f"Prism is not at {PRISM}: install it with npm ci"),
]


@pytest.fixture(scope="module", params=["example", "dynamic"])
def base_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of Prism in one of its modes."""
    port = free_port()
    folder = tmp_path_factory.mktemp("prism")
    command = [str(PRISM), "mock", "--host", "127.0.0.1", "--port", str(port)]
    if request.param == "dynamic":
        command += ["--dynamic", "--seed", "codat", str(_with_times(folder))]
    else:
        command.append(str(OPENAPI))
    with guarded_processes(folder, ()) as processes:
        processes.serve("Prism", command, os.environ, port)
        yield f"http://127.0.0.1:{port}"


def _with_times(folder: Path) -> Path:
    """Write the description with values of its times, whose format it gives in words only, so that any text fits it."""
    description = json.loads(OPENAPI.read_text("utf-8-sig"))
    description["components"]["schemas"]["DateTime"]["enum"] = ["2022-10-23T00:00:00Z", "2026-01-24T10:00:00.1234567Z"]
    path = folder / "description.json"
    path.write_text(json.dumps(description), "utf-8")
    return path


@pytest.fixture
async def codat(base_url: str) -> AsyncIterator[Codat]:
    async with httpx.AsyncClient(base_url=base_url) as http:
        yield Codat(http, "key", clock=lambda: datetime.now(UTC))


async def test_companies_are_read(codat: Codat) -> None:
    pages = codat.companies("region=uk")
    companies = [company async for _, company in _first(pages, 3)]

    assert companies
    assert all(company.id for company in companies)
    _, company = await codat.company(str(uuid4()))
    assert company.id
    assert codat.items_skipped == 0


async def test_the_data_status_is_read(codat: Codat) -> None:
    at, statuses = await codat.data_status(str(uuid4()))

    assert all(status.data_type for status in statuses.values())
    assert abs(at - datetime.now(UTC)).total_seconds() < 60


async def test_datasets_are_read(codat: Codat) -> None:
    operations = [operation async for operation in _first(codat.history(str(uuid4())), 3)]

    assert all(operation.id and operation.requested for operation in operations)
    assert isinstance(await codat.dataset(str(uuid4()), str(uuid4())), PullOperation)
    assert codat.items_skipped == 0


async def test_refreshes_are_queued(codat: Codat) -> None:
    company_id, connection_id, key = str(uuid4()), str(uuid4()), uuid4()

    for data_type in ("invoices", "banking-transactions", "custom.DynamicsPurchaseOrders"):
        operation = await codat.queue(company_id, data_type, connection_id, key)
        assert operation.id
        assert operation.status
    assert await codat.queue_all(company_id)
    assert await codat.refresh_product(company_id, "credit-model", ["invoices", "payments"])


async def test_sync_settings_and_webhook_consumers_are_read_and_a_consumer_is_created(codat: Codat) -> None:
    assert all(setting.data_type for setting in await codat.sync_settings())
    assert all(consumer.url for consumer in await codat.webhook_consumers())
    assert (await codat.create_webhook_consumer("https://example.com/webhooks", ["read.completed"])).id


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Unauthorized),
        (402, errors.AccountLimit),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (429, errors.RateLimited),
        (500, errors.Temporary),
        (503, errors.Temporary),
    ],
)
async def test_each_error_that_is_described_is_raised_as_its_kind(
    base_url: str, status: int, kind: type[errors.CodatError]
) -> None:
    headers = {"Prefer": f"code={status}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers) as http:
        codat = Codat(http, "key", clock=lambda: datetime.now(UTC))
        for call in (codat.queue_all(str(uuid4())), codat.queue(str(uuid4()), "invoices", str(uuid4()))):
            with pytest.raises(kind) as raised:
                await call
            assert raised.value.status == status


async def test_a_local_run_finds_no_rate_limit_headers(base_url: str) -> None:
    codat = local_codat.Codat(base_url, api_key="key", signing_secret="", is_sandbox=False)

    assert codat.remaining_calls() is None


async def _first(items: AsyncIterator[Item], count: int) -> AsyncIterator[Item]:
    """Yield the first items: in dynamic mode there are always further pages."""
    async for item in items:
        yield item
        count -= 1
        if count == 0:
            return
