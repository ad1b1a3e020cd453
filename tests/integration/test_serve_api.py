"""The API over HTTP: ensuring fresh data of a company, with real tables, and the sandbox as Codat."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from freshness.app.api.api import openapi
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import DatasetState
from freshness.domain.datasets.sync_history import SAME_END
from freshness.domain.feeds.feed_values import End
from local.http_api import serving
from tests import webhook_bodies
from tests.api_description import require_described
from tests.builders import SECOND
from tests.integration.deployed import Deployed, read_an_hour_ago

TYPES = ["invoices", "bills"]


@pytest.fixture
def api(deployed: Deployed) -> Iterator[httpx.Client]:
    """Return a client of the API, after the companies were found and every feed was read once."""
    deployed.check()
    with (
        serving() as url,
        httpx.Client(base_url=url, timeout=40, event_hooks={"response": [is_as_described]}) as client,
    ):
        yield client


def is_as_described(response: httpx.Response) -> None:
    response.read()
    require_described(response.request.method, response.url.path, response)


@pytest.fixture
def company(api: httpx.Client, deployed: Deployed) -> Company:
    """Return a company whose invoices and bills can be read, and were read an hour ago."""
    return deployed.read_an_hour_ago(TYPES)


def ensure(api: httpx.Client, company_id: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    asked = {"dataTypes": TYPES, "maxAge": "PT10M", "within": "PT10M"} | (body or {})
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.post(f"/companies/{company_id}/ensure-fresh", json=asked, headers=names)


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Return the members of a problem."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:codat-freshness:problem:{kind}"
    assert body["status"] == status
    return body


def queueing_calls(deployed: Deployed) -> int:
    return deployed.sandbox.sandbox.calls["refresh-data-type"]


def test_what_is_fresh_enough_is_answered_at_once_without_a_call_of_codat(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    before = deployed.sandbox.sandbox.calls.total()

    response = ensure(api, company.company_id, {"maxAge": "PT2H"})

    assert response.status_code == 200
    body = response.json()
    assert body["done"] is True
    assert body["id"] is None
    assert {(each["dataType"], each["state"], each["datasetId"]) for each in body["dataTypes"]} == {
        (data_type, "fresh", "earlier") for data_type in TYPES
    }
    for each in body["dataTypes"]:
        assert each["asOf"] >= body["notBefore"]
        assert 3590 < each["age"] < 3700
        assert each["recordsModified"] is True
    assert deployed.sandbox.sandbox.calls.total() == before


def test_what_is_too_old_is_queued_at_once_and_fresh_when_asked_again(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    accepted = ensure(api, company.company_id)

    assert accepted.status_code == 202
    body = accepted.json()
    assert body["done"] is False
    assert body["probability"] > 0.5
    assert int(accepted.headers["Retry-After"]) >= 1
    assert queueing_calls(deployed) == 2
    location = accepted.headers["Location"]
    time.sleep(1.1)
    done = api.get(location, headers={"Prefer": "wait=10"})
    assert done.status_code == 200
    assert done.json()["done"] is True
    assert {each["state"] for each in done.json()["dataTypes"]} == {"fresh"}
    assert all(each["asOf"] >= done.json()["notBefore"] for each in done.json()["dataTypes"])
    assert queueing_calls(deployed) == 2
    assert api.get(location).json()["dataTypes"][0]["asOf"] == done.json()["dataTypes"][0]["asOf"]
    assert {feed.last_dataset.trigger for feed in deployed.feeds(company, TYPES) if feed.last_dataset} == {"on demand"}


def test_a_caller_who_waits_is_answered_when_the_data_is_fresh(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    response = ensure(api, company.company_id, Prefer="respond-async, wait=20")

    assert response.status_code == 200
    assert response.json()["done"] is True
    assert queueing_calls(deployed) == 2


def test_a_key_that_is_being_answered_is_refused_for_now(api: httpx.Client, company: Company) -> None:
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ensure, api, company.company_id, Idempotency_Key="k", Prefer="wait=15")
        time.sleep(0.5)
        second = ensure(api, company.company_id, Idempotency_Key="k")
        assert first.result().status_code == 200
    if second.status_code != 200:  # unless the first was quicker
        assert problem(second, 409, "key-in-progress")
        assert second.headers["Retry-After"] == "1"


def forget_links(deployed: Deployed, company: Company) -> None:
    """Have no link of a company be recent enough to be given to another caller."""
    known = deployed.tables.companies.get(company.company_id)
    assert known
    connections = {key: replace(each, link_url="", link_url_read_at=None) for key, each in known.connections.items()}
    deployed.tables.companies.put(replace(known, connections=connections))


def test_a_connection_that_must_be_authorised_is_a_conflict_with_its_link(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    for feed in deployed.feeds(company, ["invoices"]):
        deployed.tables.feeds.update(
            feed, lambda feed: feed.ended(End(at=datetime.now(UTC), state=DatasetState.PERMISSIONS_ERROR))
        )

    body = problem(ensure(api, company.company_id), 409, "relink-needed")

    [link] = body["linkUrls"].values()
    assert link.startswith("http")
    forget_links(deployed, company)
    deployed.stub(path=f"/companies/{company.company_id}", status=403)
    assert list(problem(ensure(api, company.company_id), 409, "relink-needed")["linkUrls"].values()) == [""]


def test_a_webhook_ends_a_request_at_once(api: httpx.Client, company: Company, deployed: Deployed) -> None:
    deployed.let_syncs_take(timedelta(minutes=5))
    request_id = ensure(api, company.company_id).json()["id"]
    reads = [(feed.connection_id, feed.data_type, "Complete") for feed in deployed.feeds(company, TYPES)]
    # One that is dated sooner might be about an earlier read.
    at = datetime.now(UTC) + SAME_END + SECOND

    deployed.apply(webhook_bodies.read_completed(at, reads[0], company_id=company.company_id))
    waits = deployed.tables.requests.get(request_id)
    deployed.apply(webhook_bodies.read_completed(at, *reads[1:], company_id=company.company_id))
    ended = deployed.tables.requests.get(request_id)

    assert waits
    assert not waits.is_done
    assert ended
    assert ended.is_fresh


def test_the_description_is_served_and_valid(api: httpx.Client) -> None:
    served = api.get("/openapi.json").json()

    assert served == openapi()
    assert served["openapi"] == "3.1.0"
    for schema in served["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    text = str(served)
    for name in served["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text


def test_many_calls_of_fifty_callers_cost_at_most_two_queueing_calls_for_each_feed(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    known = deployed.tables.feeds.of_company(company.company_id)
    readable = [
        feed
        for feed in known
        if company.connections[feed.connection_id].is_linked
        and not feed.is_unsupported
        and not feed.is_blocked(company.connections[feed.connection_id])
    ]
    data_types = sorted({feed.data_type for feed in readable})[:5]
    mine = deployed.feeds(company, data_types)
    assert len(data_types) == 5
    for feed in mine:
        deployed.tables.feeds.update(feed, read_an_hour_ago)
    deployed.let_syncs_take(SECOND, fails_first=0.0)

    def call(caller: int) -> list[tuple[int, dict[str, Any]]]:
        """Make two calls, and ask for each until it is done."""
        done = []
        with httpx.Client(base_url=api.base_url, timeout=60) as client:
            for number in range(2):
                body = {"dataTypes": data_types, "maxAge": 60 + number}
                response = ensure(
                    client, company.company_id, body, X_Test_Caller=f"arn:aws:iam::1:user/{caller}", Prefer="wait=20"
                )
                while response.status_code == 202 or (response.status_code == 200 and not response.json()["done"]):
                    time.sleep(min(2, int(response.headers["Retry-After"])))
                    response = client.get(response.headers["Location"], headers={"Prefer": "wait=20"})
                done.append((response.status_code, response.json()))
        return done

    with ThreadPoolExecutor(max_workers=50) as pool:
        answers = [answer for answers in pool.map(call, range(50)) for answer in answers]

    assert len(answers) == 100
    assert {(status, body.get("type")) for status, body in answers} == {(200, None)}
    for _, body in answers:
        for each in body["dataTypes"]:
            assert each["state"] == "fresh"
            assert each["asOf"] >= body["notBefore"]
    assert queueing_calls(deployed) <= 2 * len(mine)
    assert deployed.sandbox.sandbox.calls.total() < 100
