"""What is not as described of Codat's responses and webhooks: each loses only itself, or is an error of Codat's."""

import codecs
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freshness.codat.client import EMPTY_PAGES, Codat
from freshness.codat.errors import CodatError, Unreadable
from freshness.codat.models import CompanyListing
from freshness.codat.responses import retry_after
from freshness.codat.webhooks.parser import Malformed, parse
from freshness.domain.api_limits import LONGEST_STOP
from freshness.domain.feeds.facts import ReadEnded
from tests import webhook_bodies as bodies
from tests.builders import NOON, an_operation
from tests.services import codat_answering

TIMES = ["0001-01-01T00:00:00", "9999-12-31T23:59:59.9999999+14:00", "2026-02-30", "-1", "now", "2026-11-23T12:00:00Z"]
DATASET = an_operation(status="Complete", completed="2026-11-23T11:01:00Z")
COMPANY = {
    "id": "c",
    "name": "Toft stores",
    "tags": {"region": "uk"},
    "products": ["credit-model"],
    "referenceParentCompany": {"id": "p", "name": "Parent"},
    "dataConnections": [{"id": "x", "platformName": "Xero", "sourceType": "Accounting", "status": "Linked"}],
}
STATUS = {"dataType": "invoices", "currentStatus": "Complete", "lastSuccessfulSync": "2026-11-23T11:00:00Z"}
SETTING = {"dataType": "invoices", "fetchOnFirstLink": True, "syncSchedule": 24}
CONSUMER = {"id": "w", "url": "https://example.com", "eventTypes": ["read.completed"], "companyTags": ["region:uk"]}


def page(item: object) -> dict[str, object]:
    return {"results": [item], "pageNumber": 1, "_links": {"next": {"href": "/next"}}}


async def every(items: AsyncIterator[object]) -> None:
    """Read the first items of a list, whose pages are all the same."""
    async for _ in items:
        pass


CALLS: dict[str, tuple[object, Callable[[Codat], Awaitable[object]]]] = {
    "companies": (page(COMPANY), lambda codat: every(codat.companies())),
    "company": (COMPANY, lambda codat: codat.company("c")),
    "data status": ({"invoices": STATUS, "bills": None}, lambda codat: codat.data_status("c")),
    "history": (page(DATASET), lambda codat: every(codat.history("c"))),
    "dataset": (DATASET, lambda codat: codat.dataset("c", "d")),
    "queue": (DATASET, lambda codat: codat.queue("c", "invoices", "x")),
    "queue custom": (DATASET, lambda codat: codat.queue("c", "custom.budgets", "x")),
    "queue all": (None, lambda codat: codat.queue_all("c")),
    "product": (None, lambda codat: codat.refresh_product("c", "credit-model", ["invoices"])),
    "profile": ({"name": "Lender"}, lambda codat: codat.account()),
    "sync settings": ({"settings": [SETTING]}, lambda codat: codat.sync_settings()),
    "consumers": ({"results": [CONSUMER]}, lambda codat: codat.webhook_consumers()),
    "new consumer": (CONSUMER, lambda codat: codat.create_webhook_consumer("https://example.com", ["read.completed"])),
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(TIMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
odd_values = json_values | st.sampled_from([10**5000, "x" * 20_000, [[]] * 300, {"": None}, "\ud800", float("nan")])


@st.composite
def mutated(draw: st.DrawFn, value: object) -> object:
    """Return a value of which one part, at any depth, is another one, or is missing."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 3)) == 0:
        return draw(odd_values)
    if isinstance(value, list):
        return [draw(mutated(value[0])), *value[1:]]
    key = draw(st.sampled_from(sorted(value)))
    if draw(st.booleans()) and draw(st.booleans()):
        return {name: each for name, each in value.items() if name != key}
    return value | {key: draw(mutated(value[key]))}


def texts(body: object) -> st.SearchStrategy[bytes]:
    """Return bodies that resemble one, and others that are no JSON at all."""
    as_described = json.dumps(body).encode()
    return st.one_of(
        mutated(body).map(_encoded),
        st.integers(0, len(as_described)).map(lambda length: as_described[:length]),
        st.binary(max_size=50),
        st.sampled_from([b"", b"<html><body>Bad gateway</body></html>", b"\xef\xbb\xbf{}", b"[" * 3000, b"9" * 5000]),
        st.sampled_from([b'{"a":' * 3000, b"NaN", b"-", b'"\\ud800"', b"\xff\xfe{\x00}\x00", b"null", b"[]", b"0"]),
    )


def _encoded(value: object) -> bytes:
    with suppress(ValueError):
        return json.dumps(value).encode()
    return b"[" + b"9" * 5000 + b"]"


headers = st.dictionaries(
    st.sampled_from(
        "Date Retry-After X-Rate-Limit-Limit X-Rate-Limit-Remaining X-Correlation-Id Content-Type Location".split()
    ),
    st.sampled_from(["", "0", "-1", "1e400", "nan", "9" * 5000, "1" * 100, "//[", "Mon, 23 Nov 2026 12:00:00 GMT"])
    | st.sampled_from(["base64", "rot13", "utf-16", "nonsense"]).map("text/html; charset={}".format)
    | st.sampled_from(["Mon, 32 Nov 99999 12:00:00 +9999", "application/json; charset=nonsense"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    max_size=4,
)
statuses = st.sampled_from([200, 200, 200, 201, 202, 204, 206, 302, 400, 401, 402, 403, 404, 408, 409, 418, 422, 429])


class RecordingLimiter:
    """A limiter that never waits, and keeps what was reported to it."""

    def __init__(self) -> None:
        self.reported: list[tuple[int, int]] = []
        self.stops: list[tuple[datetime, datetime]] = []

    async def wait(self, *, on_demand: bool = False) -> None:
        pass

    def report(self, daily_quota: int, remaining: int, _at: datetime) -> None:
        self.reported.append((daily_quota, remaining))

    async def stop(self, until: datetime, at: datetime) -> None:
        self.stops.append((until, at))


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=30, deadline=None)
@given(data=st.data(), status=statuses | st.just(500) | st.just(503), headers=headers)
async def test_any_response_is_read_or_is_an_error_of_codat(
    call: str, data: st.DataObject, status: int, headers: dict[str, str]
) -> None:
    body, send = CALLS[call]
    content = data.draw(texts(body))
    left = iter(range(3))

    def respond(request: httpx.Request) -> httpx.Response:
        # A list whose every page has new items would never end.
        is_over = next(left, None) is None
        return httpx.Response(403 if is_over else status, content=content, headers=headers, request=request)

    limiter = RecordingLimiter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("freshness.codat.http.FIRST_PAUSE", 0)
        async with codat_answering(respond, limiter=limiter) as codat:
            with suppress(CodatError):
                await send(codat)

    assert all(0 <= number < 10**12 for reported in limiter.reported for number in reported)
    assert all(NOON < until <= NOON + 2 * LONGEST_STOP for until, _ in limiter.stops)


@pytest.mark.parametrize("products", [5, "credit-model", {"a": 1}])
async def test_products_that_are_no_list_are_unknown(products: object) -> None:
    async with codat_answering(lambda _: httpx.Response(200, json=COMPANY | {"products": products})) as codat:
        _, read = await codat.company("c")
    assert read.products is None


async def test_a_response_that_is_nested_too_deep_is_unreadable() -> None:
    async with codat_answering(lambda _: httpx.Response(200, content=b"[" * 3000)) as codat:
        with pytest.raises(Unreadable):
            await codat.company("c")


@settings(max_examples=300, deadline=None)
@given(header=st.text(max_size=40) | st.sampled_from(TIMES))
@example(header="nan")
@example(header="1e400")
@example(header="Mon, 23 Nov 2026 12:00:00 +9999999999")
def test_any_retry_after_is_a_pause_within_reason(header: str) -> None:
    assert 0 < retry_after(header, NOON).total_seconds() <= LONGEST_STOP.total_seconds()


READ = {"connectionId": "x", "dataType": "invoices", "status": "Complete", "issues": [{"type": "t", "message": "m"}]}
EVENT = {
    "id": str(uuid4()),
    "eventType": "read.completed",
    "generatedDate": "2026-11-23T12:00:00Z",
    "payload": {
        "referenceCompany": {"id": "c", "name": "Toft stores"},
        "connection": COMPANY["dataConnections"][0],  # type: ignore[index]
        "connectionId": "x",
        "expiryDate": "2026-11-24T00:00:00Z",
        "dataTypes": [READ],
    },
}
EVENT_TYPES = "read.completed connection.created company.created client.rateLimit.reached bills.write.successful"


@pytest.mark.parametrize("event_type", EVENT_TYPES.split())
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_webhook_is_read_ignored_or_malformed(event_type: str, data: st.DataObject) -> None:
    body = data.draw(texts(EVENT | {"eventType": event_type})).decode("utf-8", "replace")
    with suppress(Malformed):
        parse(body, NOON)


NEXT = {"next": {"href": "/next"}}
XERO = {"id": "xero", "platformName": "Xero", "sourceType": "Accounting", "status": "Linked"}


async def listed(respond: Callable[[int], httpx.Response]) -> tuple[list[CompanyListing], int]:
    """Return the companies of a list, given the response for each number of a page_of, and how many calls it took."""

    def answer(request: httpx.Request) -> httpx.Response:
        return respond(int(request.url.params["page"]))

    async with codat_answering(answer) as codat:
        return [company async for _, company in codat.companies()], codat.calls


def page_of(*companies: dict[str, Any] | str, links: object = None) -> httpx.Response:
    results = [{"id": each} if isinstance(each, str) else each for each in companies]
    return httpx.Response(200, json={"results": results, "_links": links or {}})


async def test_a_connection_that_cannot_be_read_loses_only_itself_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = XERO | {"id": "plaid", "status": None}
    company = {"id": "c", "name": "Tide Bakery", "dataConnections": [XERO, broken, None]}

    [read], _ = await listed(lambda _: page_of(company))

    assert (read.name, [each.id for each in read.connections]) == ("Tide Bakery", ["xero"])
    assert not read.has_all_connections
    [record] = [vars(record) for record in caplog.records]
    assert (record["call"], record["items"], record["skipped"]) == ("GET /companies", "plaid", 1)
    assert record["first_reason"] == "Input should be a valid string at ('status',)"


async def test_a_status_that_cannot_be_read_loses_only_itself_and_is_named_by_its_data_type(
    caplog: pytest.LogCaptureFixture,
) -> None:
    current: dict[str, Any] = {"bills": "Complete", "invoices": "Complete", "payments": ["?"]}
    statuses = {name: {"dataType": name, "currentStatus": status} for name, status in current.items()}
    async with codat_answering(lambda _: httpx.Response(200, json=statuses)) as codat:
        _, read = await codat.data_status("c")

    assert read.keys() == {"bills", "invoices"}
    [record] = [vars(record) for record in caplog.records]
    assert (record["items"], record["skipped"]) == ("payments", 1)


@pytest.mark.parametrize(
    ("given", "is_known"), [({"dataConnections": []}, True), ({"dataConnections": None}, False), ({}, False)]
)
async def test_no_connections_are_something_else_than_connections_that_are_not_known(
    given: dict[str, Any], is_known: bool
) -> None:
    [read], _ = await listed(lambda _: page_of({"id": "c"} | given))
    assert (read.connections, read.has_all_connections) == ((), is_known)


async def test_tags_that_are_null_or_numbers_are_read_as_text() -> None:
    tags = {"region": "uk", "team": None, "tier": 1, "score": 0.5, "vip": True}
    [read, unknown], _ = await listed(lambda _: page_of({"id": "c", "tags": tags}, {"id": "d", "tags": None}))
    assert read.tags == {"region": "uk", "team": "", "tier": "1", "score": "0.5", "vip": "true"}
    assert unknown.tags is None


async def test_an_empty_page_with_a_link_to_the_next_is_not_the_last() -> None:
    pages = [page_of("a", links=NEXT), page_of(links=NEXT), page_of("b", links=NEXT), page_of("c")]
    read, _ = await listed(lambda number: pages[number - 1])
    assert [company.id for company in read] == ["a", "b", "c"]


async def test_empty_pages_without_end_are_followed_only_so_far() -> None:
    read, calls = await listed(lambda number: page_of("a", links=NEXT) if number == 1 else page_of(links=NEXT))
    assert ([company.id for company in read], calls) == (["a"], 1 + EMPTY_PAGES)


@pytest.mark.parametrize("cycle", [["a"], ["a", "b"], ["a", "b", "c"]])
async def test_pages_that_link_in_a_circle_end(cycle: list[str]) -> None:
    read, calls = await listed(lambda number: page_of(cycle[(number - 1) % len(cycle)], links=NEXT))
    assert ([company.id for company in read], calls) == (cycle, len(cycle) + 1)


async def test_a_byte_order_mark_before_a_response_is_passed_over() -> None:
    read, _ = await listed(lambda _: httpx.Response(200, content=codecs.BOM_UTF8 + page_of("a").content))
    assert [company.id for company in read] == ["a"]
    refused = httpx.Response(403, content=codecs.BOM_UTF8 + json.dumps({"error": "not yours"}).encode())
    with pytest.raises(CodatError, match="not yours"):
        await listed(lambda _: refused)


def test_a_webhook_may_have_a_byte_order_mark_and_name_its_type_in_another_way() -> None:
    body = bodies.read_completed(NOON, ("xero", "invoices", "Complete"))
    for same in ("\ufeff" + body, body.replace('"eventType"', '"type"')):
        assert parse(same, NOON) == parse(body, NOON)


def test_of_the_reads_of_a_webhook_one_that_cannot_be_read_loses_only_itself() -> None:
    event = json.loads(bodies.read_completed(NOON, *[("xero", f"type-{n}", "Complete") for n in range(21)]))
    del event["payload"]["dataTypes"][3]["connectionId"]

    with pytest.raises(Malformed) as raised:
        parse(json.dumps(event), NOON)

    read = [fact.data_type for fact in raised.value.facts if isinstance(fact, ReadEnded)]
    assert read == [f"type-{n}" for n in range(21) if n != 3]
    assert "1 of 21 reads" in str(raised.value)
    assert str(raised.value).endswith("Field required at payload.dataTypes.3.connectionId")


def test_an_uploaded_attachment_makes_nothing_due() -> None:
    body = bodies.written(NOON, "invoices")
    assert parse(body.replace('"Create"', '"UploadAttachment"'), NOON) == ()
    assert parse(body, NOON)
