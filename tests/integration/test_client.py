"""The client of the API, over HTTP."""

import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import pytest

from freshness.api_client.steps import Call, ensured
from freshness.app.api.api import openapi
from freshness.client import (
    AsyncFreshnessClient,
    CompanyFreshness,
    FreshnessClient,
    Invalid,
    NotFound,
    NotFresh,
    RelinkNeeded,
    Result,
    Unavailable,
    Unreachable,
)
from freshness.domain.companies.company import Company
from tests.integration.deployed import Deployed
from tests.integration.test_serve_api import TYPES, api, company, queueing_calls

__all__ = ["api", "company"]

SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
URL = "https://a1b2c3.execute-api.eu-west-2.amazonaws.com"
RESULT: dict[str, Any] = {
    "id": "r",
    "companyId": "c",
    "done": True,
    "notBefore": "2026-01-01T00:00:00Z",
    "deadline": "2026-01-01T00:10:00Z",
    "dataTypes": [],
}


class Unreliable(httpx.HTTPTransport):
    """A network that loses the first responses, after the API has handled the calls."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.lost, self.keys = lost, set[str]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        self.keys |= {request.headers.get("Idempotency-Key", "")} - {""}
        if self.lost:
            self.lost -= 1
            response.read()
            raise httpx.ReadTimeout("the response was lost")
        return response


def asked(client: FreshnessClient, company_id: str = "c", **given: Any) -> Result:
    return client.ensure_fresh(company_id, TYPES, **{"max_age": "10m", "within": "2m"} | given)


def answering(*responses: httpx.Response) -> FreshnessClient:
    """Return a client that gets these responses, one after another."""
    left = iter(responses)
    return FreshnessClient(URL, session=SESSION, transport=httpx.MockTransport(lambda _: next(left)))


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long the client waits between calls. Tests wait a tenth of that."""
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        time.sleep(seconds / 10)

    monkeypatch.setattr("freshness.api_client.steps.time", SimpleNamespace(sleep=wait, monotonic=time.monotonic))
    return waited


def test_data_that_is_too_old_is_read_and_each_type_has_its_time(api: httpx.Client, company: Company) -> None:
    with FreshnessClient(str(api.base_url), session=SESSION) as client:
        result = asked(client, company.company_id)

    assert result.is_fresh
    assert {each.data_type for each in result.data_types} == set(TYPES)
    for data_type in TYPES:
        assert (result.as_of(data_type) or result.deadline) >= result.not_before
    with pytest.raises(KeyError):
        result.as_of("journals")


async def test_the_client_for_asyncio_does_the_same(api: httpx.Client, company: Company) -> None:
    async with AsyncFreshnessClient(str(api.base_url), session=SESSION) as client:
        result = await client.ensure_fresh(company.company_id, TYPES, max_age="10m", within="2m")
        known = await client.freshness(company.company_id)

    assert result.is_fresh
    assert (known.company_id, known.company_name) == (company.company_id, company.name)
    fresh = {each.data_type: each for each in known.data_types}
    assert all(fresh[data_type].keeps_promise for data_type in TYPES)


def test_a_call_whose_response_is_lost_is_repeated_as_the_same_request(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    before = queueing_calls(deployed)
    network = Unreliable(lost=2)

    with FreshnessClient(str(api.base_url), session=SESSION, transport=network) as client:
        assert asked(client, company.company_id).is_fresh

    assert len(network.keys) == 1
    assert queueing_calls(deployed) - before == len(deployed.feeds(company, TYPES))


def test_what_is_refused_is_an_error_of_its_own(api: httpx.Client, company: Company, deployed: Deployed) -> None:
    with FreshnessClient(str(api.base_url), session=SESSION) as client:
        with pytest.raises(NotFound, match=r"^404 unknown-company: There is no company 'nobody'"):
            asked(client, "nobody")
        with pytest.raises(Invalid, match=r"^422 invalid: "):
            asked(client, company.company_id, within="soon")


def test_an_error_names_the_links_by_which_the_customer_acts() -> None:
    members = {"type": "urn:codat-freshness:problem:relink-needed", "detail": "…", "linkUrls": {"a": "https://link"}}
    with answering(httpx.Response(409, json=members)) as client, pytest.raises(RelinkNeeded) as refused:
        asked(client)
    assert refused.value.link_urls == {"a": "https://link"}


def test_what_api_gateway_refuses_for_now_is_repeated(waits: list[float]) -> None:
    too_many = httpx.Response(429, json={"message": "Too Many Requests"})
    down = httpx.Response(503, json={"type": "…:codat-unavailable", "detail": "…"}, headers={"Retry-After": "7"})
    with answering(too_many, httpx.Response(502, text="<html>"), down, httpx.Response(200, json=RESULT)) as client:
        assert asked(client).is_fresh
    assert waits == [1, 1, 7]


def test_a_call_is_not_repeated_if_that_would_take_too_long(waits: list[float]) -> None:
    down = httpx.Response(503, json={"type": "…:codat-unavailable", "detail": "…"}, headers={"Retry-After": "3600"})
    with answering(down) as client, pytest.raises(Unavailable) as refused:
        asked(client)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after.total_seconds() == 3600
    assert waits == []


def test_the_command_line_repeats_a_call_for_as_long_as_its_user_waits() -> None:
    down = httpx.Response(503, json={"type": "…:codat-unavailable", "detail": "…"}, headers={"Retry-After": "3600"})
    steps = ensured("c", {}, patience=timedelta(hours=2))

    assert isinstance(next(steps), Call)
    assert steps.send(down) == timedelta(hours=1)
    assert isinstance(steps.send(None), Call)


def test_a_request_that_was_accepted_is_followed_though_codat_is_down(waits: list[float]) -> None:
    headers = {"Retry-After": "3600", "Location": "/companies/c/ensure-fresh/r"}
    down = httpx.Response(503, json={"type": "…:codat-unavailable", "detail": "…"}, headers=headers)
    with answering(down, httpx.Response(200, json=RESULT)) as client:
        assert asked(client).id == "r"
    assert waits == [2]


def test_an_api_that_does_not_answer_is_an_error_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    monkeypatch.setattr("freshness.api_client.steps.KEEP_TRYING", timedelta(0))
    with (
        FreshnessClient(URL, session=SESSION, transport=httpx.MockTransport(fail)) as client,
        pytest.raises(Unreachable, match="ConnectError: refused"),
    ):
        asked(client)


def test_a_call_is_signed_for_the_region_of_the_api() -> None:
    signed: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        signed.append(request)
        return httpx.Response(200, json=RESULT)

    with FreshnessClient(URL, session=SESSION, transport=httpx.MockTransport(answer)) as client:
        asked(client)
    authorization = signed[0].headers["Authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=test/")
    assert "/eu-west-2/execute-api/aws4_request" in authorization


def test_what_is_not_fresh_raises_only_if_that_is_asked_for() -> None:
    late = {
        "dataType": "invoices",
        "connectionId": "a",
        "state": "stale",
        "asOf": None,
        "asOfIsEstimated": False,
        "age": None,
        "refreshedAt": None,
        "recordsModified": None,
        "datasetId": "",
        "linkUrl": "",
        "reason": "the deadline passed",
    }
    with answering(httpx.Response(200, json=RESULT | {"dataTypes": [late]})) as client:
        result = asked(client)
    assert not result.is_fresh
    with pytest.raises(NotFresh, match=r"^invoices: the deadline passed$"):
        result.raise_if_not_fresh()


@pytest.mark.parametrize(
    ("answer", "schema"),
    [(Result, "RequestStatus"), (CompanyFreshness, "CompanyFreshness")],
)
def test_the_client_expects_only_what_the_api_always_answers(answer: Any, schema: str) -> None:
    described = openapi()["components"]["schemas"][schema]
    assert {field.alias for field in answer.model_fields.values()} <= set(described["required"])
