"""What is sent to Codat, and what of its responses is believed."""

import ssl
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from estimate.memory_dynamodb import tables_in_memory
from freshness.codat import http
from freshness.codat.client import Codat
from freshness.codat.errors import RateLimited, Temporary
from freshness.codat.responses import LONGEST_NUMBER, reported_quota
from tests.builders import NOON, a_policy
from tests.services import codat_at, services_of

Post = Callable[[Codat, UUID | None], Coroutine[Any, Any, object]]
POSTS: dict[str, Post] = {
    "data/all": lambda codat, key: codat.queue_all("company", key),
    "data/queue/invoices": lambda codat, key: codat.queue("company", "invoices", "connection", key),
    "refresh": lambda codat, key: codat.refresh_product("company", "credit", ["invoices"], key),
}


@pytest.mark.parametrize("post", POSTS.values(), ids=POSTS)
async def test_a_post_whose_response_is_lost_is_repeated_with_the_key_that_was_given(post: Post) -> None:
    """Without the same key, Codat would queue the data types twice."""
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if len(sent) == 1:
            raise httpx.ReadError("the response was lost")
        operation = {
            "id": "dataset",
            "companyId": "company",
            "connectionId": "connection",
            "dataType": "invoices",
            "status": "Queued",
            "requested": "2026-11-23T12:00:00",
        }
        return httpx.Response(200, json=operation)

    key = uuid4()
    async with httpx.AsyncClient(base_url="http://codat", transport=httpx.MockTransport(respond)) as client:
        await post(Codat(client, "key", clock=lambda: NOON), key)

    assert [request.method for request in sent] == ["POST", "POST"]
    assert [request.headers["Idempotency-Key"] for request in sent] == [str(key)] * 2


@pytest.mark.parametrize(("within", "failures", "tries"), [(5.0, 1, 2), (5.0, 2, 3), (5.0, 9, 3), (-1.0, 9, 1)])
async def test_a_read_is_tried_three_times_within_some_seconds_while_codat_fails(
    monkeypatch: pytest.MonkeyPatch, within: float, failures: int, tries: int
) -> None:
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(http, "TRY_AGAIN_WITHIN", within)
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(500 if len(sent) <= failures else 200, json={"results": []})

    async with httpx.AsyncClient(base_url="http://codat", transport=httpx.MockTransport(respond)) as client:
        with pytest.raises(Temporary) if failures >= tries else nullcontext():
            await Codat(client, "key", clock=lambda: NOON).webhook_consumers()

    assert len(sent) == tries


@pytest.mark.parametrize(
    ("limit", "remaining", "believed"),
    [
        ("1000", "999", (1000, 999)),
        ("9" * LONGEST_NUMBER, "0", (10**LONGEST_NUMBER - 1, 0)),
        ("9" * (LONGEST_NUMBER + 1), "0", None),
        ("1000", "9" * 40, None),
        ("1000", "", None),
        ("-1", "5", None),
        ("many", "5", None),
    ],
)
def test_a_quota_is_believed_only_if_it_can_be_stored(
    limit: str, remaining: str, believed: tuple[int, int] | None
) -> None:
    """DynamoDB stores numbers of up to 38 digits."""
    headers = httpx.Headers({"X-Rate-Limit-Limit": limit, "X-Rate-Limit-Remaining": remaining})
    assert reported_quota(headers) == believed


async def test_a_call_that_meets_a_limit_makes_everything_stop_until_codat_says_so() -> None:
    stops = set[tuple[datetime, datetime]]()

    class Recording:
        async def wait(self, *, on_demand: bool = False) -> None:
            pass

        def report(self, daily_quota: int, remaining: int, at: datetime) -> None:
            pass

        async def stop(self, until: datetime, at: datetime) -> None:
            stops.add((until, at))

    transport = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "30"}, json={}))
    async with httpx.AsyncClient(base_url="http://codat", transport=transport) as client:
        with pytest.raises(RateLimited):
            await Codat(client, "key", clock=lambda: NOON, limiter=Recording()).account()

    assert stops == {(NOON + timedelta(seconds=30), NOON)}


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({}, "GET /x: It failed."),
        ({"status": 500}, "GET /x (500): It failed."),
        ({"status": 500, "correlation_id": "7"}, "GET /x (500): It failed. [correlation id 7]"),
    ],
)
def test_an_error_says_what_codats_support_asks_for_as_far_as_it_is_known(known: dict[str, Any], text: str) -> None:
    assert str(Temporary("GET /x", "It failed.", at=NOON, **known)) == text


async def test_calls_are_made_only_to_a_codat_whose_certificate_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Recording(httpx.AsyncClient):
        def __init__(self, *, verify: Any, **options: Any) -> None:
            opened.append(verify)
            super().__init__(verify=verify, **options)

    monkeypatch.setattr(httpx, "AsyncClient", Recording)
    tables = tables_in_memory()
    policy = a_policy()
    async with services_of(tables, policy, codat=codat_at("https://codat", "key")).codat(NOON):
        pass

    [context] = opened
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
