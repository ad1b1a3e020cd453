"""What is sent to Codat and believed of its responses, what a check asks, and how an outage shows."""

import ssl
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
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
from freshness.codat.status_poller import poll
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.facts import DatasetPolled
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request
from tests.builders import DAY, MINUTE, NOON, a_connection, a_policy, an_operation
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
    seen.end(str(company), seen.begin(), failure)


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
        seen.doubt(str(company))
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
        seen.end(str(company), begun, error())
    assert not seen.is_down


def test_calls_that_a_limit_refuses_show_nothing() -> None:
    seen = Reachability(was_down=True)
    call(seen, "refused", error(RateLimited, 429))
    assert seen.may_be_down
    assert not seen.is_back
    assert seen.responds("refused") is None


def test_a_company_responds_again_after_an_error_of_codats() -> None:
    seen = Reachability()
    call(seen, "c", error())
    assert seen.responds("c") is False
    call(seen, "c", error(status=500))
    assert seen.responds("c") is True
    assert seen.is_failing("c")
    call(seen, "c")
    assert not seen.is_failing("c")


COMPANY = Company(company_id="company", connections={"xero": a_connection("xero", NOON - 9 * DAY)})
NEW = Feed(company_id="company", data_type="invoices", connection_id="xero")
RUNNING = NEW.requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="ours"))
READ = RUNNING.ended(End(at=NOON, state="Complete", dataset_id="ours"))
SOON, LATE = NOON + MINUTE / 6, NOON + 10 * MINUTE


def operation(dataset_id: str, status: str) -> dict[str, Any]:
    completed = None if status == "Fetching" else (NOON + MINUTE).isoformat()
    error = "It is locked" if status == "FetchError" else None
    return an_operation(id=dataset_id, connectionId="xero", status=status, completed=completed, errorMessage=error)


async def polled(
    feed: Feed, dataset_id: str, status: str, now: datetime, *, ours: str | None = "Fetching"
) -> tuple[list[DatasetPolled], list[str]]:
    """Return what a poll finds of a feed, and what it asks besides data status.

    `dataset_id` and `status` are of the latest dataset, and `ours` is the status of the one that was requested; `None`
    if Codat does not know it.
    """
    asked: list[str] = []
    known = {"data_type": "invoices", "currentStatus": status, "latestSyncId": dataset_id, "dataType": "invoices"}
    answers: dict[str, Any] = {
        "dataStatus": {"invoices": known},
        "company": {"id": "company", "name": "", "dataConnections": []},
        "history": {"results": [operation(dataset_id, status)], "_links": {}},
        "ours": ours and operation("ours", ours),
    }

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.rpartition("/")[2])
        answer = answers[asked[-1]]
        return httpx.Response(200 if answer else 404, json=answer or {})

    async with codat_answering(respond, clock=lambda: now) as codat:
        found = await poll(codat, COMPANY, [feed], now)
    assert asked[0] == "dataStatus"
    return found["invoices", "xero"], asked[1:]


@pytest.mark.parametrize("now", [SOON, LATE])
async def test_what_data_status_says_of_the_dataset_in_flight_is_enough_unless_it_failed(now: datetime) -> None:
    for status in ("Fetching", "Complete"):
        [found], asked = await polled(RUNNING, "ours", status, now)
        assert (found.dataset_id, found.state, asked) == ("ours", status, [])


async def test_why_and_when_the_dataset_in_flight_failed_is_asked_of_itself_once_it_is_late() -> None:
    [found], asked = await polled(RUNNING, "ours", "FetchError", LATE, ours="FetchError")
    assert (found.reason, found.ended_at, asked) == ("It is locked", NOON + MINUTE, ["ours"])
    assert (await polled(RUNNING, "ours", "FetchError", SOON))[1] == []


async def test_a_dataset_in_flight_that_is_no_longer_the_latest_is_asked_for_at_once() -> None:
    found, asked = await polled(RUNNING, "theirs", "Complete", SOON, ours="FetchError")
    assert [(each.dataset_id, each.state) for each in found] == [("ours", "FetchError"), ("theirs", "Complete")]
    assert asked == ["company", "ours"]


@pytest.mark.parametrize("now", [SOON, LATE])
async def test_a_dataset_that_codat_does_not_know_is_cancelled_once_it_would_be_late(now: datetime) -> None:
    found, _ = await polled(RUNNING, "theirs", "Complete", now, ours=None)
    assert RUNNING.late_at
    assert (found[0].state, found[0].dataset_id, found[0].at) == ("Cancelled", "ours", max(now, RUNNING.late_at))


@pytest.mark.parametrize(("dataset_id", "asked"), [("ours", []), ("theirs", ["company"])])
async def test_only_news_may_be_of_a_connection_that_is_not_known_yet(dataset_id: str, asked: list[str]) -> None:
    assert (await polled(READ, dataset_id, "Complete", LATE))[1] == asked


async def test_why_a_dataset_failed_that_others_requested_is_read_from_history() -> None:
    [found], asked = await polled(READ, "theirs", "FetchError", LATE)
    assert (found.dataset_id, found.reason, asked) == ("theirs", "It is locked", ["company", "history"])
    known = replace(READ, end=End(at=NOON + MINUTE, state="FetchError", dataset_id="theirs"))
    assert (await polled(known, "theirs", "FetchError", LATE))[1] == []
