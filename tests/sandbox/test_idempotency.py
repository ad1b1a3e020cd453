"""Idempotency keys: the response to the first request is repeated for 90 minutes, without a second effect."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import httpx
from starlette.responses import Response

from codat_sandbox.idempotency import IdempotencyKeys
from codat_sandbox.server import RunningSandbox
from tests.sandbox.conftest import MINUTE, NOON

RESPONSE = Response(b"{}")


def test_a_response_is_repeated_for_90_minutes() -> None:
    keys = IdempotencyKeys()
    assert keys.begin("key", b"request", NOON) is None
    keys.end("key", RESPONSE)

    assert keys.begin("key", b"request", NOON + 89 * MINUTE) == RESPONSE
    assert keys.begin("other", b"request", NOON + 89 * MINUTE) is None
    assert keys.begin("key", b"request", NOON + 90 * MINUTE) is None


def test_a_429_is_not_repeated() -> None:
    keys = IdempotencyKeys()
    keys.begin("key", b"request", NOON)
    keys.end("key", Response(status_code=429))

    assert keys.begin("key", b"request", NOON) is None


def test_a_repeated_refresh_gets_the_first_response_and_queues_nothing(
    codat: httpx.Client, sandbox: RunningSandbox
) -> None:
    company_id = codat.get("/companies").json()["results"][0]["id"]
    path, headers = f"/companies/{company_id}/data/queue/invoices", {"Idempotency-Key": str(uuid4())}
    before = len(history(codat, company_id))

    responses = [codat.post(path, headers=headers) for _ in range(3)]

    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(history(codat, company_id)) == before + 1


def test_an_error_is_repeated_too(codat: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid4())}

    first, second = (codat.post("/companies/unknown/data/all", headers=headers) for _ in range(2))

    assert first.status_code == second.status_code == 404
    assert first.json()["correlationId"] == second.json()["correlationId"]


def test_another_body_or_path_with_the_same_key_is_a_422(codat: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    consumer = {"url": "http://127.0.0.1:9/a", "eventTypes": []}
    assert codat.post("/webhooks", json=consumer, headers=headers).status_code == 201

    assert codat.post("/webhooks", json=consumer, headers=headers).status_code == 201
    other = codat.post("/webhooks", json=consumer | {"url": "http://127.0.0.1:9/b"}, headers=headers)
    assert other.status_code == 422
    assert codat.post("/companies/unknown/data/all", headers=headers).status_code == 422
    assert len(codat.get("/webhooks").json()["results"]) == 1


async def test_a_concurrent_repeat_is_a_409(sandbox: RunningSandbox) -> None:
    slow = sandbox.sandbox.settings.model_copy(update={"latency": timedelta(seconds=0.3)})
    sandbox.do(lambda sandbox: sandbox.backend.change_settings(slow, sandbox.now()))
    headers = {"Authorization": sandbox.authorization, "Idempotency-Key": str(uuid4())}
    company_id = sandbox.backend.companies()[0].id
    async with httpx.AsyncClient(base_url=sandbox.base_url, headers=headers) as client:
        responses = await asyncio.gather(*(client.post(f"/companies/{company_id}/data/all") for _ in range(2)))

        assert sorted(response.status_code for response in responses) == [204, 409]
        assert (await client.post(f"/companies/{company_id}/data/all")).status_code == 204


def history(codat: httpx.Client, company_id: str) -> list[dict[str, object]]:
    results: list[dict[str, object]] = codat.get(f"/companies/{company_id}/data/history").json()["results"]
    return results
