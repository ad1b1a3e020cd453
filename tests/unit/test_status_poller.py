"""What a check asks Codat about a company's datasets, and what it finds."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import pytest

from freshness.codat.status_poller import poll
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.facts import DatasetPolled
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request
from tests.builders import DAY, MINUTE, NOON, a_connection, an_operation
from tests.services import codat_answering

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
