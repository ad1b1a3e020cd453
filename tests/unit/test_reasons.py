"""What Codat says of why: reading it, keeping it with the end that it is about, and showing it as Codat's words."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from itertools import permutations
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from freshness.app.reading.text import codat_words
from freshness.codat.models import ConnectionListing, PullOperation
from freshness.codat.webhooks import parser as webhook_parser
from freshness.domain.companies.company import Company, ConnectionStatus
from freshness.domain.companies.company_facts import CompanyListed, ConnectionChanged
from freshness.domain.datasets.dataset import LONGEST_REASON, DatasetState, Issue, Trigger, reason_of
from freshness.domain.datasets.sync_history import Sync, SyncHistory
from freshness.domain.feeds.facts import DatasetPolled, FeedFact, ReadEnded
from freshness.domain.feeds.feed import LONGEST_PAUSE, UNKNOWN_SYNC_TIME, Feed
from freshness.domain.feeds.feed_values import Request, State
from freshness.domain.feeds.freshness_request import ENOUGH_SYNCS, FreshnessRequest, ReadEstimate, estimate
from freshness.domain.feeds.schedule import due_at
from freshness.domain.promises.promise import Promise
from freshness.domain.promises.windows import Window
from freshness.domain.transitions.company_transition import company_transition
from freshness.domain.transitions.transition import transition, transitions
from tests import webhook_bodies
from tests.builders import HOUR, LINKED, MINUTE, NEW, NOON, a_read, an_operation

PROMISE = Promise(fresh_within=6 * HOUR)
READING = NEW.requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset"))
PAUSED = "Paused until 2026-11-23T15:00:00.000Z"


def operation(**given: Any) -> PullOperation:
    return PullOperation.model_validate(an_operation(**{"status": "FetchError"} | given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"errorMessage": "Xero  is\ndown "}, "Xero is down"),
        ({"errorMessage": None, "statusDescription": "Retrying"}, "Retrying"),
        ({"errorMessage": 7, "statusDescription": ["x"]}, ""),
        ({"errorMessage": "x" * 1000}, "x" * LONGEST_REASON),
        ({"errorMessage": "half \ud800 a character"}, "half ? a character"),
        ({"errorMessage": "old", "status": "Complete"}, ""),
    ],
    ids=str,
)
def test_why_a_dataset_failed_is_one_bounded_line_whatever_codat_sends(given: dict[str, Any], words: str) -> None:
    found = operation(**given)
    assert found.polled(NOON).reason == found.requested_by(Trigger.PROMISE).reason == words


def connection(**fields: Any) -> ConnectionListing:
    given = {"id": "connection", "platformName": "Xero", "sourceType": "Accounting", "status": "Deauthorized"}
    return ConnectionListing.model_validate(given | fields)


def error(message: str | None, hour: int, **fields: Any) -> dict[str, Any]:
    return {"errorMessage": message, "erroredOnUtc": f"2026-11-23T{hour:02}:00:00Z", "statusCode": "401"} | fields


def test_the_reason_of_issues_is_each_of_their_messages_once() -> None:
    issues = [Issue(type="error", message=message) for message in ("", "Locked.", "", "Try later.", "Locked.")]
    assert reason_of(issues) == "Locked. Try later."


def test_the_reason_of_a_connection_is_its_latest_error_that_lasts_or_what_codat_notes_of_it() -> None:
    errors = [error("first", 7), error("last", 9), error("passed", 11, status="Resolved"), None, {"erroredOnUtc": 3}]

    assert connection(dataConnectionErrors=errors, connectionInfo={"a": "b"}).reason == "last"
    assert connection(dataConnectionErrors=[error(None, 7, statusText="Unauthorized")]).reason == "401 Unauthorized"
    assert connection(dataConnectionErrors=None, connectionInfo={"machine": "offline", "x": {}}).reason == (
        "machine: offline"
    )
    assert connection(dataConnectionErrors="x", connectionInfo=[]).reason == ""


def test_a_webhook_says_why_a_connection_lapsed_and_a_list_says_when_that_is_over_without_another_check() -> None:
    body = webhook_bodies.connection(NOON, "disconnected", "Deauthorized", errors=[error("Revoked", 9)])
    [changed] = webhook_parser.parse(body, NOON) or ()
    assert isinstance(changed, ConnectionChanged)
    company = Company(company_id="company", check_at=NOON + HOUR)
    company = company_transition(company, changed, NOON).company
    [known] = company.connections.values()
    assert known.reason == "Revoked"

    company = replace(company, check_at=NOON + HOUR)
    listed = replace(known, status_at=NOON + MINUTE, reason="")
    fact = CompanyListed(name=None, tags=None, connections=(listed,), at=NOON + MINUTE, products=None)
    after = company_transition(company, fact, NOON + MINUTE).company

    assert [each.reason for each in after.connections.values()] == [""]
    assert after.check_at == NOON + HOUR


def ended(at: datetime, message: str = "", state: str = "FetchError") -> ReadEnded:
    issues = (Issue(type="error", message=message),) if message else ()
    return a_read(at, state, records_modified=False, issues=issues, reason=message)


def test_the_reason_belongs_to_the_latest_end_in_whatever_order_webhooks_arrive() -> None:
    reads: list[FeedFact] = [
        ended(NOON + HOUR, "an earlier reason"),
        ended(NOON + 2 * HOUR),
        ended(NOON + 2 * HOUR, "the reason"),
        ended(NOON + 2 * HOUR, "the reason"),
    ]

    results = {transitions(READING, order, PROMISE, LINKED, NOON + 3 * HOUR).feed.end for order in permutations(reads)}

    assert {end.reason for end in results if end} == {"the reason"}
    assert len(results) == 1


def test_a_success_leaves_no_reason() -> None:
    warning = [{"type": "warning.validation", "message": "a warning"}]
    body = webhook_bodies.read_completed(NOON + 2 * HOUR, ("connection", "invoices", "Complete"), issues=warning)
    [success] = webhook_parser.parse(body, NOON + 2 * HOUR) or ()
    assert isinstance(success, ReadEnded)

    feed = transitions(READING, [ended(NOON + HOUR, "a reason"), success], PROMISE, LINKED, NOON + 3 * HOUR).feed

    assert feed.end
    assert feed.end.reason == ""


def test_a_poll_says_why_a_dataset_failed_of_which_a_webhook_said_only_that_it_did() -> None:
    first = transition(READING, ended(NOON + MINUTE), PROMISE, LINKED, NOON + MINUTE)
    polled = operation(errorMessage="Xero is down", completed="2026-11-23T12:01:00Z").polled(NOON + 2 * MINUTE)
    second = transition(first.feed, polled, PROMISE, LINKED, NOON + 2 * MINUTE)

    assert second.feed.end
    assert second.feed.end.reason == "Xero is down"
    [webhooks], [polls] = first.datasets, second.datasets
    for record in (webhooks.merge(polls), polls.merge(webhooks), webhooks.merge(polls).merge(polls)):
        assert (record.reason, record.state, record.ended_at) == ("Xero is down", "FetchError", NOON + MINUTE)
        assert record.records_modified is False


def test_a_webhook_says_from_when_on_the_changes_are() -> None:
    def modified_from(given: str | None) -> datetime | None:
        read = ("connection", "invoices", "Complete")
        [fact] = webhook_parser.parse(webhook_bodies.read_completed(NOON, read, modified_from=given), NOON) or ()
        assert isinstance(fact, ReadEnded)
        return fact.modified_from

    assert modified_from("2026-11-23T09:00:00.1234567Z") == NOON - 3 * HOUR + timedelta(microseconds=123456)
    assert modified_from("soon") is modified_from(None) is None


def running(description: str | None, at: datetime = NOON + 30 * MINUTE) -> Feed:
    """Return the feed after Codat was asked how its dataset is: `None` if by data status, which does not say it."""
    fact = operation(status="Fetching", statusDescription=description or "").polled(at)
    fact = replace(fact, reason=None) if description is None else fact
    return transition(READING, fact, PROMISE, LINKED, at).feed


def test_the_next_check_of_a_paused_read_is_at_the_end_of_the_pause() -> None:
    feed = running(PAUSED)
    assert feed.late_at == due_at(feed, PROMISE, LINKED) == NOON + 3 * HOUR


@pytest.mark.parametrize("description", ["", None, "Paused until further notice", "Paused until 2026-11-23T12:10:00Z"])
def test_a_read_that_is_not_paused_is_checked_after_twice_the_time(description: str | None) -> None:
    assert running(description).late_at == NOON + HOUR


def test_a_pause_without_end_is_believed_for_a_day() -> None:
    assert running("paused until 2099-01-01").late_at == NOON + 30 * MINUTE + LONGEST_PAUSE


def test_data_status_does_not_take_back_that_a_read_is_paused() -> None:
    fact = DatasetPolled(at=NOON + HOUR, state=DatasetState.FETCHING, dataset_id="dataset")
    assert transition(running(PAUSED), fact, PROMISE, LINKED, NOON + HOUR).feed.late_at == NOON + 3 * HOUR


@pytest.mark.parametrize("not_before", [NOON - HOUR, NOON + HOUR], ids=["served", "needs another read"])
def test_the_end_of_the_pause_is_the_estimate_for_callers(not_before: datetime) -> None:
    def estimated(deadline: datetime) -> tuple[datetime, str, bool]:
        request = FreshnessRequest(
            request_id="request",
            company_id="company",
            data_types=("invoices",),
            not_before=not_before,
            deadline=deadline,
            accepted_at=NOON + HOUR,
        )
        ahead = estimate(request, running(PAUSED), PROMISE, NOON + HOUR)
        return ahead.expected_at.replace(second=0), ahead.obstacle, ahead.probability > 0

    assert estimated(NOON + 9 * HOUR) == (NOON + 3 * HOUR, "", True)
    obstacle = "Codat pauses its read until 2026-11-23T15:00+00:00"
    assert estimated(NOON + 2 * HOUR) == (NOON + 3 * HOUR, obstacle, False)


def estimated(feed: Feed, room: timedelta, promise: Promise = PROMISE, **asked: Any) -> ReadEstimate:
    """Return the estimate at noon of a read as of noon, with so much time for it."""
    request = FreshnessRequest(
        request_id="request",
        company_id="company",
        data_types=("invoices",),
        not_before=NOON,
        deadline=NOON + room,
        accepted_at=NOON,
        **asked,
    )
    return estimate(request, feed, promise, NOON)


def test_a_read_is_expected_after_the_one_in_flight_and_once_a_window_opens_unless_it_may_be_at_any_time() -> None:
    earlier = NEW.requested(Request(at=NOON - UNKNOWN_SYNC_TIME / 3, trigger=Trigger.PROMISE, dataset_id="earlier"))
    shut = Window(
        name="noon", start=time(11), end=time(14), days=frozenset(range(7)), zone=ZoneInfo("UTC"), allows=False
    )
    closed = replace(PROMISE, windows=(shut,))

    assert estimated(NEW, 9 * HOUR).expected_at == NOON + UNKNOWN_SYNC_TIME
    assert estimated(earlier, 9 * HOUR).expected_at == NOON + UNKNOWN_SYNC_TIME * 5 / 3
    assert estimated(NEW, 9 * HOUR, closed).expected_at == NOON + 2 * HOUR + UNKNOWN_SYNC_TIME
    assert estimated(NEW, 9 * HOUR, closed, at_any_time=True).expected_at == NOON + UNKNOWN_SYNC_TIME


def test_before_a_sync_was_measured_a_deadline_is_likely_to_be_met_if_the_usual_time_is_left() -> None:
    assert estimated(NEW, UNKNOWN_SYNC_TIME).probability == 0.9
    assert estimated(NEW, UNKNOWN_SYNC_TIME - timedelta.resolution).probability == 0.1


def test_a_deadline_is_impossible_only_if_even_the_shortest_of_enough_syncs_took_longer() -> None:
    durations = [n * MINUTE for n in range(5, 5 + ENOUGH_SYNCS)]

    def obstacle(room: timedelta, durations: list[timedelta]) -> str:
        syncs = [Sync(ended_at=NOON - HOUR, records_modified=None, took=took) for took in durations]
        return estimated(replace(NEW, history=SyncHistory.of(syncs)), room).obstacle

    assert obstacle(5 * MINUTE, durations) == ""
    assert obstacle(4 * MINUTE, durations) == f"the shortest of its last {ENOUGH_SYNCS} syncs took 300 s"
    assert obstacle(4 * MINUTE, durations[1:]) == ""


def test_what_codat_says_is_shown_for_what_is_not_fresh_and_cannot_change_what_is_around_it() -> None:
    failed = transition(READING, ended(NOON + MINUTE, 'It "failed"\x1b[2J\u202e'), PROMISE, LINKED, NOON + MINUTE).feed
    lapsed = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED, reason="Revoked")
    desktop = replace(LINKED, platform="QuickBooks Desktop", reason="machine: offline")

    assert codat_words(failed.codat_says(LINKED, State.FAILING)) == "Codat: \"It 'failed'\ufffd[2J\ufffd\""
    assert failed.codat_says(lapsed, State.BLOCKED) == "Revoked"
    assert running(PAUSED).codat_says(LINKED, State.REFRESHING) == PAUSED
    assert running("").codat_says(desktop, State.REFRESHING) == "machine: offline"
    assert failed.codat_says(lapsed, State.FRESH) == codat_words("") == ""
