"""What of Codat's responses and webhooks is not as described loses only itself."""

import codecs
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from freshness.codat.client import EMPTY_PAGES, Codat
from freshness.codat.errors import CodatError
from freshness.codat.models import CompanyListing
from freshness.codat.webhooks.parser import Malformed, parse
from freshness.domain.feeds.facts import ReadEnded
from tests import webhook_bodies as bodies
from tests.builders import NOON

NEXT = {"next": {"href": "/next"}}
XERO = {"id": "xero", "platformName": "Xero", "sourceType": "Accounting", "status": "Linked"}


async def listed(respond: Callable[[int], httpx.Response]) -> tuple[list[CompanyListing], int]:
    """Return the companies of a list, given the response for each number of a page, and how many calls it took."""

    def answer(request: httpx.Request) -> httpx.Response:
        return respond(int(request.url.params["page"]))

    async with httpx.AsyncClient(base_url="https://codat.test", transport=httpx.MockTransport(answer)) as http:
        codat = Codat(http, "key", clock=lambda: NOON)
        return [company async for _, company in codat.companies()], codat.calls


def page(*companies: dict[str, Any] | str, links: object = None) -> httpx.Response:
    results = [{"id": each} if isinstance(each, str) else each for each in companies]
    return httpx.Response(200, json={"results": results, "_links": links or {}})


async def test_a_connection_that_cannot_be_read_loses_only_itself_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = XERO | {"id": "plaid", "status": None}
    company = {"id": "c", "name": "Tide Bakery", "dataConnections": [XERO, broken, None]}

    [read], _ = await listed(lambda _: page(company))

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
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=statuses))
    async with httpx.AsyncClient(base_url="https://codat.test", transport=transport) as http:
        _, read = await Codat(http, "key", clock=lambda: NOON).data_status("c")

    assert read.keys() == {"bills", "invoices"}
    [record] = [vars(record) for record in caplog.records]
    assert (record["items"], record["skipped"]) == ("payments", 1)


@pytest.mark.parametrize(
    ("given", "is_known"), [({"dataConnections": []}, True), ({"dataConnections": None}, False), ({}, False)]
)
async def test_no_connections_are_something_else_than_connections_that_are_not_known(
    given: dict[str, Any], is_known: bool
) -> None:
    [read], _ = await listed(lambda _: page({"id": "c"} | given))

    assert (read.connections, read.has_all_connections) == ((), is_known)


async def test_tags_that_are_null_or_numbers_are_read_as_text() -> None:
    tags = {"region": "uk", "team": None, "tier": 1, "score": 0.5, "vip": True}
    [read, unknown], _ = await listed(lambda _: page({"id": "c", "tags": tags}, {"id": "d", "tags": None}))

    assert read.tags == {"region": "uk", "team": "", "tier": "1", "score": "0.5", "vip": "true"}
    assert unknown.tags is None


async def test_an_empty_page_with_a_link_to_the_next_is_not_the_last() -> None:
    pages = [page("a", links=NEXT), page(links=NEXT), page("b", links=NEXT), page("c")]
    read, _ = await listed(lambda number: pages[number - 1])

    assert [company.id for company in read] == ["a", "b", "c"]


async def test_empty_pages_without_end_are_followed_only_so_far() -> None:
    read, calls = await listed(lambda number: page("a", links=NEXT) if number == 1 else page(links=NEXT))

    assert ([company.id for company in read], calls) == (["a"], 1 + EMPTY_PAGES)


@pytest.mark.parametrize("cycle", [["a"], ["a", "b"], ["a", "b", "c"]])
async def test_pages_that_link_in_a_circle_end(cycle: list[str]) -> None:
    read, calls = await listed(lambda number: page(cycle[(number - 1) % len(cycle)], links=NEXT))

    assert ([company.id for company in read], calls) == (cycle, len(cycle) + 1)


async def test_a_byte_order_mark_before_a_response_is_passed_over() -> None:
    read, _ = await listed(lambda _: httpx.Response(200, content=codecs.BOM_UTF8 + page("a").content))
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
