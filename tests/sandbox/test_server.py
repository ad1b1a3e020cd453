import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import httpx
import pytest

from codat_sandbox.sandbox import Sandbox
from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import client_of, wait_until


@pytest.fixture
def company_id(codat: httpx.Client) -> str:
    """Return the id of a company on Xero and Plaid whose first syncs are running."""
    response = codat.post("/sandbox/companies", json={"platforms": ["Xero", "Plaid"]})
    return str(response.json()["id"])


@pytest.fixture
def idle_company_id(codat: httpx.Client, company_id: str) -> str:
    path = f"/companies/{company_id}/dataStatus"
    wait_until(
        lambda: {s.get("currentStatus", "Complete") for s in codat.get(path).json().values() if s} == {"Complete"}
    )
    return company_id


def test_a_wrong_key_is_refused(codat: httpx.Client) -> None:
    for authorization in ("Basic d3Jvbmc=", "", "Basic kön"):
        response = codat.get("/companies", headers={b"Authorization": authorization.encode()})

        assert response.status_code == 401
        assert response.json()["statusCode"] == 401
        assert re.fullmatch("[0-9a-f]{32}", response.json()["correlationId"])


def test_every_response_has_the_quotas_headers(codat: httpx.Client) -> None:
    first, second = codat.get("/companies"), codat.get("/companies/nonsense")

    assert first.headers["X-Rate-Limit-Limit"] == "13000"
    assert int(first.headers["X-Rate-Limit-Remaining"]) - int(second.headers["X-Rate-Limit-Remaining"]) == 1
    reset = datetime.fromtimestamp(int(first.headers["X-Rate-Limit-Reset"]), UTC)
    assert (reset.hour, reset.minute, reset.second) == (0, 0, 0)
    assert timedelta(0) < reset - datetime.now(UTC) <= timedelta(days=1)
    assert "Date" in second.headers


def test_pages_link_to_each_other_and_contain_each_company_once(codat: httpx.Client) -> None:
    def pages() -> Iterator[dict[str, dict[str, dict[str, str]]]]:
        url: str | None = "/companies?pageSize=5&orderBy=-name"
        while url:
            page = codat.get(url).json()
            yield page
            url = page["_links"].get("next", {}).get("href")

    responses = list(pages())

    names = [company["name"] for page in responses for company in page["results"]]  # type: ignore[index]
    assert [len(page["results"]) for page in responses] == [5, 5, 2]
    assert names == sorted(names, reverse=True)
    assert "previous" not in responses[0]["_links"]
    for before, after in pairwise(responses):
        assert after["_links"]["previous"] == before["_links"]["current"]


def test_companies_are_filtered_by_tags(codat: httpx.Client) -> None:
    everyone = codat.get("/companies").json()["results"]
    wanted = {c["id"] for c in everyone if c["tags"]["region"] == "uk" and c["tags"]["team"] != "lending"}

    found = codat.get("/companies", params={"tags": "region=uk && team!=lending"}).json()["results"]

    assert {company["id"] for company in found} == wanted
    assert 0 < len(wanted) < len(everyone)


@pytest.mark.parametrize(
    "parameters", ["pageSize=0", "pageSize=5001", "page=0", "page=x", "query=nonsense", "orderBy=x"]
)
def test_invalid_page_parameters_are_refused(codat: httpx.Client, parameters: str) -> None:
    assert codat.get(f"/companies?{parameters}").status_code == 400


def test_a_refresh_appears_in_the_data_status_and_the_history(codat: httpx.Client, idle_company_id: str) -> None:
    queued = codat.post(f"/companies/{idle_company_id}/data/queue/invoices").json()
    path = f"/companies/{idle_company_id}/data/history/{queued['id']}"
    wait_until(lambda: codat.get(path).json()["isCompleted"])

    status = codat.get(f"/companies/{idle_company_id}/dataStatus").json()["invoices"]
    query = "query=dataType=invoices&orderBy=-requested&pageSize=1"
    newest = codat.get(f"/companies/{idle_company_id}/data/history?{query}").json()
    assert status["latestSuccessfulSyncId"] == status["latestSyncId"] == queued["id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", status["lastSuccessfulSync"])
    assert newest["results"][0]["id"] == queued["id"]
    assert newest["totalResults"] == 2


@pytest.mark.parametrize("status", [400, 409])
def test_a_running_data_type_is_refused_with_the_configured_status(
    codat: httpx.Client, company_id: str, status: int
) -> None:
    codat.patch(
        "/sandbox/settings", json={"already_in_progress_status": status, "sync_time_max": 60, "sync_time_min": 60}
    )
    path = f"/companies/{company_id}/data/queue/journals"
    queued, refused = codat.post(path), codat.post(path)

    assert (queued.status_code, refused.status_code) == (200, status)
    assert f"previous sync {queued.json()['id']} is still in progress" in refused.json()["error"]


def test_unknown_ids_are_not_found(codat: httpx.Client, company_id: str) -> None:
    for path in ("/companies/x", f"/companies/{company_id}/connections/x", f"/companies/{company_id}/data/history/x"):
        assert codat.get(path).status_code == 404
    unsupported = codat.post(f"/companies/{company_id}/data/queue/commerce-orders")
    assert unsupported.status_code == 404
    assert unsupported.json()["error"] == "Datatype [commerce-orders] not supported by platform(s) [Xero, Plaid]"


def test_too_many_requests_a_minute_are_refused(settings: Settings) -> None:
    with running_sandbox(settings.model_copy(update={"calls_per_minute": 2})) as sandbox, client_of(sandbox) as codat:
        responses = [codat.get("/companies") for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    assert 0 < int(responses[2].headers["Retry-After"]) <= 60


def test_too_many_concurrent_requests_for_a_company_are_refused(settings: Settings) -> None:
    slow = settings.model_copy(update={"latency": timedelta(seconds=0.5), "concurrent_calls": 3})
    with running_sandbox(slow) as sandbox, client_of(sandbox) as codat, ThreadPoolExecutor(5) as threads:
        path = f"/companies/{sandbox.backend.companies()[0].id}"
        statuses = [response.status_code for response in threads.map(lambda _: codat.get(path), range(5))]

    assert sorted(statuses) == [200, 200, 200, 429, 429]


def test_at_most_50_webhook_consumers_can_be_created(codat: httpx.Client) -> None:
    consumer = {"url": "http://127.0.0.1:9/webhooks", "eventTypes": ["read.completed"]}
    statuses = [codat.post("/webhooks", json=consumer).status_code for _ in range(51)]
    consumers = codat.get("/webhooks").json()["results"]

    deleted = codat.delete(f"/webhooks/{consumers[0]['id']}")

    assert statuses == [201] * 50 + [400]
    assert deleted.status_code == 204
    assert codat.delete(f"/webhooks/{consumers[0]['id']}").status_code == 404
    assert len(codat.get("/webhooks").json()["results"]) == 49


@pytest.mark.parametrize("body", ["", "[]", '{"url": "nonsense"}', '{"url": "http://x", "companyTags": 1}', "{"])
def test_a_malformed_webhook_consumer_is_refused(codat: httpx.Client, body: str) -> None:
    assert codat.post("/webhooks", content=body).status_code == 400


def test_a_stub_response_is_sent_the_given_number_of_times(codat: httpx.Client, sandbox: RunningSandbox) -> None:
    codat.post(
        "/sandbox/stubs",
        json={
            "method": "GET",
            "path": "/companies/*/dataStatus",
            "times": 2,
            "status": 503,
            "headers": {"Retry-After": "7", "Content-Type": "text/html"},
            "body": "<html>",
        },
    )

    responses = [codat.get("/companies/x/dataStatus") for _ in range(3)]

    assert [response.status_code for response in responses] == [503, 503, 404]
    assert responses[0].text == "<html>"
    assert (responses[0].headers["Retry-After"], responses[0].headers["Content-Type"]) == ("7", "text/html")
    assert sandbox.do(lambda sandbox: sandbox.stubs.pending()) == []


def test_a_connection_can_be_closed_after_the_request_was_performed(codat: httpx.Client, idle_company_id: str) -> None:
    codat.post("/sandbox/stubs", json={"path": "/companies/*/data/queue/*", "close": True, "carryOut": True})
    codat.patch("/sandbox/settings", json={"sync_time_max": 60, "sync_time_min": 60})

    with pytest.raises(httpx.RemoteProtocolError):
        codat.post(f"/companies/{idle_company_id}/data/queue/invoices")

    again = codat.post(f"/companies/{idle_company_id}/data/queue/invoices")
    assert again.json()["error"].startswith("DatasetAlreadyInProgressException")


def test_a_body_can_be_truncated(codat: httpx.Client) -> None:
    codat.post("/sandbox/stubs", json={"path": "/companies", "cutAfter": 30})

    with pytest.raises(httpx.RemoteProtocolError, match="received 30 bytes"):
        codat.get("/companies")


def test_a_response_can_be_delayed(codat: httpx.Client) -> None:
    codat.post("/sandbox/stubs", json={"path": "/companies", "delay": 0.5})

    with pytest.raises(httpx.ReadTimeout):
        codat.get("/companies", timeout=0.1)


def test_the_state_can_be_read_and_changed(codat: httpx.Client, idle_company_id: str) -> None:
    def feeds() -> list[dict[str, object]]:
        everything: list[dict[str, object]] = codat.get("/sandbox/state").json()["feeds"]
        return [feed for feed in everything if feed["companyId"] == idle_company_id and feed["platformName"] == "Xero"]

    connection = f"/sandbox/companies/{idle_company_id}/connections/{feeds()[0]['connectionId']}"
    before = {feed["canBecomeFresh"] for feed in feeds()}
    changed = codat.patch(connection, json={"status": "Deauthorized"})
    after = {(feed["canBecomeFresh"], feed["obstacle"]) for feed in feeds()}
    codat.post(f"/sandbox/companies/{idle_company_id}/refresh", json={"dataType": "invoices"})
    wait_until(
        lambda: any(feed["currentStatus"] == "AuthError" and feed["requestedBy"] == "portal" for feed in feeds())
    )

    assert before == {True}
    assert changed.json()["status"] == "Deauthorized"
    assert after == {(False, "the connection is Deauthorized")}


def test_calls_are_counted_by_operation(codat: httpx.Client, company_id: str) -> None:
    codat.get("/companies")
    codat.get(f"/companies/{company_id}/dataStatus")
    codat.get(f"/companies/{company_id}/dataStatus")

    assert codat.get("/sandbox/calls").json() == {"list-companies": 1, "get-company-data-status": 2}


def test_a_reset_starts_with_new_companies_and_no_consumers(codat: httpx.Client, company_id: str) -> None:
    before = codat.get("/companies?pageSize=12").json()["results"]
    codat.post("/webhooks", json={"url": "http://127.0.0.1:9", "eventTypes": []})

    codat.post("/sandbox/reset", json={"companies": 3})

    after = codat.get("/companies").json()["results"]
    assert [company["id"] for company in after] == [company["id"] for company in before[:3]]
    assert codat.get("/webhooks").json() == {"results": []}


def test_unknown_and_invalid_settings_are_refused(codat: httpx.Client) -> None:
    for changes in ({"nonsense": 1}, {"webhooks_lost": 2}, {"sync_time_min": 1, "sync_time_max": 0}):
        assert codat.patch("/sandbox/settings", json=changes).status_code == 400


async def test_a_sandbox_that_is_stopped_at_the_moment_of_a_change_stops(settings: Settings) -> None:
    sandbox = Sandbox(settings, "key")
    running = asyncio.create_task(sandbox.run())
    await asyncio.sleep(0)
    sandbox.changed()
    running.cancel()

    await asyncio.wait([running], timeout=5)

    assert running.cancelled()
