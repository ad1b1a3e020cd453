"""What is sent to Codat, what of its responses is believed, and how an outage is told from a company that hangs."""

import ssl
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from estimate.memory_dynamodb import tables_in_memory
from freshness.codat import http
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError, NotFound, RateLimited, StillProcessing, Temporary
from freshness.codat.reachability import SEVERAL, Reachability
from freshness.codat.responses import LONGEST_NUMBER, reported_quota
from tests.builders import NOON, a_policy, an_operation
from tests.services import codat_answering, codat_at, services_of
from tests.unit.test_hostile_responses import RecordingLimiter

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
        return httpx.Response(200, json=an_operation())

    key = uuid4()
    async with codat_answering(respond) as codat:
        await post(codat, key)

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

    async with codat_answering(respond) as codat:
        with pytest.raises(Temporary) if failures >= tries else nullcontext():
            await codat.webhook_consumers()

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
    refusal, limiter = httpx.Response(429, headers={"Retry-After": "30"}, json={}), RecordingLimiter()
    async with codat_answering(lambda _: refusal, limiter=limiter) as codat:
        with pytest.raises(RateLimited):
            await codat.account()
    assert set(limiter.stops) == {(NOON + timedelta(seconds=30), NOON)}


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


def error(kind: type[CodatError] = Temporary, status: int | None = None) -> CodatError:
    return kind("GET /companies", "failed", at=NOON, status=status)


def call(seen: Reachability, company: object, failure: CodatError | None = None) -> None:
    seen.end(f"/companies/{company}", seen.begin(), failure)


@pytest.mark.parametrize("status", [None, 500, 502])
def test_codat_is_down_once_calls_failed_about_several_companies_in_a_row(status: int | None) -> None:
    seen = Reachability()
    call(seen, "first")
    for company in range(SEVERAL - 1):
        call(seen, company, error(status=status))
    assert not seen.is_down
    call(seen, "another", error(status=status))
    assert seen.is_down
    assert seen.may_be_down
    assert not seen.is_back


def test_one_company_never_shows_that_codat_is_down() -> None:
    seen = Reachability()
    for _ in range(100):
        call(seen, "hangs", error())
    assert not seen.is_down


def test_companies_that_failed_before_do_not_show_that_codat_is_down() -> None:
    seen = Reachability()
    for company in range(2 * SEVERAL):
        seen.doubt(f"/companies/{company}")
        call(seen, company, error())
    assert not seen.is_down


@pytest.mark.parametrize("failure", [None, error(NotFound, 404), error(StillProcessing, 409)], ids=str)
def test_any_response_shows_that_codat_is_back(failure: CodatError | None) -> None:
    seen = Reachability(was_down=True)
    for company in range(SEVERAL):
        call(seen, company, error())
    assert seen.may_be_down
    call(seen, "responds", failure)
    assert seen.is_back
    assert not seen.may_be_down


def test_a_call_that_was_sent_before_another_succeeded_shows_nothing() -> None:
    """Half of the calls of a tick are sent at once and hang, while the others succeed."""
    seen = Reachability()
    begun = seen.begin()
    call(seen, "responds")
    for company in range(2 * SEVERAL):
        seen.end(f"/companies/{company}", begun, error())
    assert not seen.is_down


def test_calls_that_a_limit_refuses_show_nothing() -> None:
    seen = Reachability(was_down=True)
    call(seen, "refused", error(RateLimited, 429))
    assert seen.may_be_down
    assert not seen.is_back
    assert seen.responds("/companies/refused") is None


def test_a_company_responds_again_after_an_error_of_codats() -> None:
    seen = Reachability()
    call(seen, "c", error())
    assert seen.responds("/companies/c") is False
    call(seen, "c", error(status=500))
    assert seen.responds("/companies/c") is True
    assert seen.is_failing("/companies/c")
    call(seen, "c")
    assert not seen.is_failing("/companies/c")
