"""Queueing: by which calls, which key each has, what a call queued, and when what waits is read again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from freshness.app.queueing.calls import idempotency_key as key
from freshness.codat.bulk_refresh import TOLERANCE, BulkCall, plan, queued_since, running
from freshness.codat.client import Codat
from freshness.domain.companies.company import Company, Connection
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.codat_schedule import CodatSchedule
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request, Unanswered
from freshness.planning.decision import Action, Reason, rescheduled
from tests.builders import HOUR, MINUTE, NEW, NOON, a_connection, an_operation
from tests.services import codat_answering

TYPES = ("balanceSheet", "bills", "customers", "invoices", "payments", "suppliers")
PRODUCTS = {"credit": TYPES[:3], "ledger": TYPES[3:], "not-enabled": TYPES}


def connection(name: str, status: str = "Linked") -> Connection:
    return a_connection(name, NOON - timedelta(days=9), status=status)


COMPANY = Company(
    company_id="company",
    connections={"xero": connection("xero"), "old": connection("old", "Unlinked")},
    products=("credit", "ledger", "lending"),
)
FEEDS = [Feed(company_id="company", data_type=each, connection_id="xero") for each in TYPES]


def calls(
    due: tuple[str, ...], *, on_first_link: tuple[str, ...] = (), feeds: list[Feed] = FEEDS, company: Company = COMPANY
) -> list[tuple[str, tuple[str, ...]]]:
    keys = {feed.key for feed in feeds if feed.data_type in due}
    schedule = CodatSchedule(on_first_link=frozenset(on_first_link))
    return [summary(call) for call in plan(schedule, PRODUCTS, company, feeds, keys)]


def summary(call: BulkCall) -> tuple[str, tuple[str, ...]]:
    assert call.product == "" or {feed.data_type for feed in call.feeds.values()} == set(call.data_types)
    return call.product, call.data_types


def test_products_list_what_is_due_of_them() -> None:
    assert calls(TYPES) == [("credit", TYPES[:3]), ("ledger", TYPES[3:])]
    assert calls(TYPES[:4]) == [("credit", TYPES[:3])]


def test_few_data_types_are_queued_by_themselves() -> None:
    assert calls(TYPES[:2]) == []
    assert calls((TYPES[0], TYPES[3])) == []


def test_data_all_is_used_where_it_needs_fewer_calls() -> None:
    assert calls(TYPES, on_first_link=TYPES) == [("", ())]
    assert calls(TYPES[:5], on_first_link=TYPES) == [("credit", TYPES[:3]), ("ledger", TYPES[3:5])]


def test_a_data_type_that_runs_on_one_of_its_connections_is_left_out() -> None:
    running = FEEDS[0].requested(Request(at=NOON, trigger=Trigger.EXTERNAL, dataset_id="dataset"))
    assert calls(TYPES, feeds=[running, *FEEDS[1:]]) == [("credit", TYPES[1:3]), ("ledger", TYPES[3:])]


def test_a_data_type_that_is_not_due_on_another_connection_is_left_out() -> None:
    other = Feed(company_id="company", data_type="bills", connection_id="second")
    company = Company(
        company_id="company",
        connections={"xero": connection("xero"), "second": connection("second")},
        products=COMPANY.products,
    )
    feeds, due = [*FEEDS, other], {feed.key for feed in FEEDS}

    planned = plan(CodatSchedule(), PRODUCTS, company, feeds, due)

    assert [summary(call) for call in planned] == [("credit", ("balanceSheet", "customers")), ("ledger", TYPES[3:])]


def test_a_data_type_of_two_products_is_queued_once() -> None:
    products = {"credit": TYPES, "ledger": TYPES}
    [call] = plan(CodatSchedule(), products, COMPANY, FEEDS, {feed.key for feed in FEEDS})
    assert summary(call) == ("credit", TYPES)


def test_what_is_due_soon_is_queued_with_the_product_of_something_that_is_due() -> None:
    due, soon = {FEEDS[0].key}, {feed.key for feed in FEEDS[1:]}
    [call] = plan(CodatSchedule(), PRODUCTS, COMPANY, FEEDS, due, soon)
    assert summary(call) == ("credit", TYPES[:3])


@asynccontextmanager
async def codat_with(*history: tuple[str, str, datetime], status: str = "Complete") -> AsyncIterator[Codat]:
    """Yield a client of a Codat whose history has these datasets: id, data type, and when it was requested."""
    results = [
        an_operation(id=name, connectionId="xero", dataType=data_type, status=status, requested=requested.isoformat())
        for name, data_type, requested in history
    ]
    page = {"pageNumber": 1, "pageSize": 500, "totalResults": len(results), "results": results, "_links": {}}
    async with codat_answering(lambda _: httpx.Response(200, json=page)) as codat:
        yield codat


async def test_what_was_requested_since_a_call_was_queued_by_it_although_a_webhook_reported_its_end_already() -> None:
    known = FEEDS[0].requested(Request(at=NOON - MINUTE, trigger=Trigger.PROMISE, dataset_id="known"))
    ended = FEEDS[1].ended(End(at=NOON - MINUTE, state="Complete"))
    history = [
        ("new", "balanceSheet", NOON),
        ("known", "balanceSheet", NOON - MINUTE),
        ("the one that ended", "bills", NOON - 2 * MINUTE),
        ("first", "customers", NOON - 2 * MINUTE),
        ("within the tolerance", "suppliers", NOON - 5 * MINUTE - TOLERANCE),
        ("long ago", "invoices", NOON - 60 * MINUTE),
    ]
    feeds = {feed.key: feed for feed in (known, ended, *FEEDS[2:])}

    async with codat_with(*history) as codat:
        found = await queued_since(NOON - 5 * MINUTE, codat, "company", feeds)
        after_end = await queued_since(NOON - 5 * MINUTE, codat, "company", feeds, called_at=NOON)
        nearly = await queued_since(NOON - 5 * MINUTE, codat, "company", feeds, called_at=NOON - 2 * MINUTE + TOLERANCE)

    assert nearly == found
    assert {operation.id for operation in found.values()} == {
        "new",
        "first",
        "the one that ended",
        "within the tolerance",
    }
    assert {operation.id for operation in after_end.values()} == {"new", "first", "within the tolerance"}


async def test_a_dataset_from_before_the_latest_that_is_known_of_its_feed_is_not_what_a_call_queued() -> None:
    """The history shows an earlier one within the tolerance, whose record is not kept, or whose end is known by id."""
    new = FEEDS[0]
    known = new.requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="known"))
    ended = new.ended(End(at=NOON, state="FetchError", dataset_id="earlier"))

    async with codat_with(("earlier", new.data_type, NOON - MINUTE / 6)) as codat:
        assert await queued_since(NOON, codat, "company", {known.key: known}) == {}
        assert await queued_since(NOON, codat, "company", {ended.key: ended}) == {}
        assert await queued_since(NOON, codat, "company", {new.key: new})


@pytest.mark.parametrize(("status", "running_ids"), [("Fetching", {"balanceSheet", "bills"}), ("Complete", set())])
async def test_of_the_latest_datasets_those_run_that_have_not_ended(status: str, running_ids: set[str]) -> None:
    feeds = {feed.key: feed for feed in FEEDS[:3]}
    history = [(each, each, NOON) for each in TYPES[:2]]
    async with codat_with(*history, ("earlier", TYPES[2], NOON - MINUTE), status=status) as codat:
        found = await running(codat, "company", feeds, since=NOON)
    assert {operation.id for operation in found.values()} == running_ids


ASKED = NEW.requested(Request(at=NOON - HOUR, trigger=Trigger.PROMISE, dataset_id="before"))


def test_the_same_decision_has_the_same_key_and_another_feed_or_recorded_response_another_one() -> None:
    assert ASKED.last_dataset
    in_berlin = (NOON - HOUR).astimezone(timezone(timedelta(hours=1)))
    read_back = replace(ASKED, last_dataset=replace(ASKED.last_dataset, at=in_berlin))
    queued = ASKED.requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset"))
    refused = ASKED.call_failed(NOON, HOUR)

    assert key(read_back) == key(ASKED)
    others = [replace(ASKED, data_type="bills"), queued, refused, refused.call_failed(NOON, HOUR)]
    assert len({key(each) for each in (ASKED, *others)}) == 5


def test_a_call_without_a_response_is_repeated_with_its_key_until_one_is_recorded() -> None:
    first = key(ASKED)
    unanswered = ASKED.call_failed(NOON, HOUR, Unanswered(at=NOON, key=str(first)))
    assert key(unanswered) == first
    again = unanswered.call_failed(NOON + MINUTE, HOUR, unanswered.unanswered)
    assert key(again) == first

    assert key(again.call_failed(NOON + 2 * MINUTE, HOUR)) != first
    queued = again.requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset"))
    assert queued.unanswered is None
    assert key(queued) != first


def test_a_read_that_ended_after_an_unanswered_call_makes_the_next_call_another_one() -> None:
    first = key(ASKED)
    unanswered = ASKED.call_failed(NOON, HOUR, Unanswered(at=NOON, key=str(first)))
    assert key(unanswered.ended(End(at=NOON - MINUTE, state="FetchError"))) == first
    assert key(unanswered.ended(End(at=NOON + MINUTE, state="FetchError"))) != first


ANY_COMPANY = Company(company_id="company")
FEED = replace(NEW, due_at=NOON)


@pytest.mark.parametrize(
    ("until", "breaks_at", "read_at"),
    [
        (NOON + 3 * HOUR, NOON + HOUR, NOON + HOUR),
        (NOON + HOUR, NOON + 3 * HOUR, NOON + HOUR),
        (None, NOON + HOUR, NOON + HOUR),
        (NOON + HOUR, None, NOON + HOUR),
        (None, None, None),
    ],
)
def test_a_feed_that_waits_is_read_again_when_its_promise_breaks_so_that_this_is_published(
    until: datetime | None, breaks_at: datetime | None, read_at: datetime | None
) -> None:
    decision = rescheduled(FEED, ANY_COMPANY, Reason.NOT_YET, until, breaks_at)
    assert (decision.action, decision.until) == (Action.RESCHEDULE, read_at)
    # What is due at the same time as before is not written.
    assert rescheduled(FEED, ANY_COMPANY, Reason.NOT_YET, NOON, breaks_at).action is Action.WAIT
