"""The HTTP API before anything is read: routes, bodies that it refuses, times, and how many callers may wait."""

import base64
import json
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from estimate.memory_dynamodb import tables_in_memory
from freshness.app.api.api import answer, openapi
from freshness.app.api.models import EARLIEST, LATEST_DEADLINE, DataTypeFreshness, EnsureFreshBody
from freshness.app.api.routes import Route
from freshness.app.ensure.advance import POLL_AT_LEAST_EVERY, POLL_EVERY, between_polls
from freshness.app.ensure.places import LAST_TURN, place_to_wait
from freshness.app.ensure.problems import Problem, seconds
from freshness.app.reading.views import FeedView
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Request
from freshness.domain.times import sortable
from local.http_api import context
from stack_access.api import api_event
from tests.builders import NOON, a_policy
from tests.services import services_of

PATH = Route.ENSURE_FRESH.path("c1")
ASKED = {"dataTypes": ["invoices"], "maxAge": "1h", "within": 60}


def refused(event: dict[str, Any]) -> dict[str, Any]:
    """Return the problem with which an event is refused before anything is read."""

    def nothing() -> NoReturn:
        raise AssertionError("the body should have been refused")

    response = answer(nothing, event, context())
    assert response["headers"]["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response["body"])
    assert problem["status"] == response["statusCode"]
    return problem


def test_the_description_has_every_route_with_its_method() -> None:
    described = {(path, method) for path, methods in openapi()["paths"].items() for method in methods}
    assert described == {(route.template, route.method.lower()) for route in Route}


def test_an_accepted_call_and_one_that_is_not_done_yet_say_where_to_ask_for_it() -> None:
    described = openapi()["paths"][Route.ENSURE_FRESH.template]["post"]["responses"]
    assert [status for status, response in described.items() if "Location" in response.get("headers", {})] == [
        "202",
        "503",
    ]


@pytest.mark.parametrize(
    ("changed", "pointer", "detail"),
    [
        ({"maxAge": "soon"}, "/maxAge", 'expected a duration such as "30 minutes", "6h" or "P1D", got \'soon\''),
        ({"maxAge": -1}, "/maxAge", "expected a duration that is not negative"),
        ({"maxAge": True}, "/maxAge", 'expected seconds, or a duration such as "30 minutes", "6h" or "P1D"'),
        ({"within": 0}, "/within", "expected a duration of more than nothing"),
        ({"within": None}, "/", "expected either within or deadline"),
        ({"notBefore": "2026-11-23T12:00:00Z"}, "/", "expected either maxAge or notBefore"),
        (
            {"maxAge": None, "notBefore": "2026-11-23T12:00:00"},
            "/notBefore",
            'expected a time with its offset from UTC, such as "2026-11-23T12:00:00Z"',
        ),
        ({"dataTypes": []}, "/dataTypes", "expected at least 1 entry"),
        ({"dataTypes": "bills"}, "/dataTypes", "expected a list"),
        ({"dataTypes": ["bills", 7]}, "/dataTypes/1", "expected a string"),
        ({"dataTypes": ["x" * 101]}, "/dataTypes/0", "expected at most 100 characters"),
        ({"onLate": "cry"}, "/onLate", "expected 'stale' or 'fail'"),
        ({"overrideWindows": "perhaps"}, "/overrideWindows", "expected true or false"),
        ({"color": "red"}, "/color", "is not a member of the body"),
    ],
)
def test_a_body_that_is_not_valid_is_refused_with_where_and_what_is_expected(
    changed: dict[str, Any], pointer: str, detail: str
) -> None:
    problem = refused(api_event("POST", PATH, body=ASKED | changed))
    assert (problem["status"], problem["type"]) == (422, "urn:codat-freshness:problem:invalid")
    assert problem["errors"] == [{"pointer": pointer, "detail": detail}]
    assert problem["detail"] == f"{pointer}: {detail}"


@pytest.mark.parametrize("body", ["[]", json.dumps([ASKED]), '"a"', "3", "null"])
def test_a_body_that_is_no_object_is_not_valid(body: str) -> None:
    assert refused(api_event("POST", PATH, body=body))["detail"] == "/: expected an object"


@pytest.mark.parametrize(
    ("body", "is_encoded"),
    [
        *((body, False) for body in (None, "", "{", "[" * 100_000, '{"maxAge": ' + "9" * 5000 + "}", "\ufeff{}")),
        *((body, True) for body in ("###", "a", base64.b64encode(b"\xff\xfe").decode())),
    ],
)
def test_a_body_that_is_not_json_or_no_encoded_text_is_malformed(body: str | None, is_encoded: bool) -> None:
    problem = refused(api_event("POST", PATH, body=body) | {"isBase64Encoded": is_encoded})
    assert (problem["status"], problem["type"]) == (400, "urn:codat-freshness:problem:malformed")


@pytest.mark.parametrize("path", ["/", "/companies", "/companies/a/b/freshness", '/companies/"/freshness'])
def test_a_path_that_the_api_does_not_have_is_not_found(path: str) -> None:
    assert refused(api_event("GET", path))["type"] == "urn:codat-freshness:problem:unknown-route"


@pytest.mark.parametrize(
    ("written", "means"),
    [
        (90, timedelta(seconds=90)),
        (0.5, timedelta(seconds=0.5)),
        ("1 hour", timedelta(hours=1)),
        ("6 hours", timedelta(hours=6)),
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("2d", timedelta(days=2)),
        ("1 week", timedelta(weeks=1)),
        ("PT1H", timedelta(hours=1)),
        ("P1DT12H", timedelta(days=1, hours=12)),
        (1e300, timedelta.max),
    ],
)
def test_a_duration_is_seconds_or_is_written_as_in_the_policy_or_short_or_as_in_iso_8601(
    written: object, means: timedelta
) -> None:
    assert EnsureFreshBody.model_validate(ASKED | {"maxAge": written}).max_age == means


@pytest.mark.parametrize(("wait", "whole"), [(-5.0, 1), (0.0, 1), (0.2, 1), (1.0, 1), (1.2, 2), (60.0, 60)])
def test_a_call_is_to_be_repeated_after_whole_seconds_and_at_least_one(wait: float, whole: int) -> None:
    assert seconds(timedelta(seconds=wait)) == whole


def test_the_schema_of_a_body_says_what_is_given_exactly_once() -> None:
    schema = openapi()["components"]["schemas"]["EnsureFreshBody"]
    assert [[each["required"] for each in pair["oneOf"]] for pair in schema["allOf"]] == [
        [["dataTypes"], ["set"]],
        [["maxAge"], ["notBefore"]],
        [["within"], ["deadline"]],
    ]


def test_callers_see_parts_of_what_people_see_of_a_feed() -> None:
    known_as = {"refreshed_at": "succeeded_at"}
    names = [known_as.get(name, name) for name in DataTypeFreshness.model_fields]
    assert [name for name in names if not hasattr(FeedView, name)] == []


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
durations = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from(["PT1H", "P999999999D", "-P999999999D", "P99999999999D", "1:00", "", "\u0663"]),
)
times = st.one_of(
    st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat()),
    st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-23", "now"]),
    st.floats(),
)


@given(
    not_before=st.one_of(st.tuples(st.just("maxAge"), durations), st.tuples(st.just("notBefore"), times)),
    deadline=st.one_of(st.tuples(st.just("within"), durations), st.tuples(st.just("deadline"), times)),
)
def test_any_times_are_refused_with_a_reason_or_can_be_stored(
    not_before: tuple[str, object], deadline: tuple[str, object]
) -> None:
    text = json.dumps({"dataTypes": ["invoices"], **dict([not_before, deadline])})
    try:
        ask = EnsureFreshBody.model_validate_json(text).ask(("invoices",), NOW)
    except (ValidationError, Problem):
        return

    assert EARLIEST <= ask.not_before <= NOW < ask.deadline <= NOW + LATEST_DEADLINE
    assert sortable(ask.not_before) < sortable(ask.deadline)


@pytest.mark.parametrize("never", [{"maxAge": "P999999D"}, {"notBefore": "0001-01-01T00:00:00+14:00"}])
def test_data_of_any_age_may_be_asked_for(never: dict[str, str]) -> None:
    body = EnsureFreshBody.model_validate({"dataTypes": ["invoices"], "within": 60, **never})
    assert body.ask(("invoices",), NOW).not_before == EARLIEST


def test_a_deadline_is_too_far_ahead_however_far_it_is() -> None:
    body = EnsureFreshBody.model_validate({"dataTypes": ["invoices"], "maxAge": 0, "within": timedelta.max})
    with pytest.raises(Problem, match="6 days at most"):
        body.ask(("invoices",), NOW)


WAIT = timedelta(seconds=24)


class Callers:
    """Callers who arrive one after the other, and prefer to wait for 24 seconds."""

    def __init__(self, places: int) -> None:
        self.now = NOON
        tables = tables_in_memory()
        policy = a_policy("6 hours")
        self._services = replace(services_of(tables, policy, clock=lambda: self.now), waiting_callers=places)

    def arrive(self, stack: ExitStack) -> timedelta:
        """Return how long a caller may wait, who holds its place until the stack is closed."""
        return stack.enter_context(place_to_wait(self._services, self.now + WAIT)) - self.now


@pytest.mark.parametrize("places", [4, 1, 0])
def test_the_fewer_places_are_free_the_shorter_is_the_wait_and_who_was_answered_leaves_its_place(places: int) -> None:
    callers = Callers(places)
    for _ in range(2):
        with ExitStack() as stack:
            waits = [callers.arrive(stack) for _ in range(places + 2)]
        assert waits == [WAIT * (places - taken) / places for taken in range(places)] + [timedelta(0)] * 2


def test_a_caller_whose_function_was_killed_leaves_its_place_after_its_wait() -> None:
    callers = Callers(places=1)
    killed = ExitStack()
    callers.arrive(killed)
    with ExitStack() as stack:
        callers.now = NOON + WAIT
        assert callers.arrive(stack) == timedelta(0)
        callers.now += LAST_TURN + timedelta(seconds=1)
        assert callers.arrive(stack) == WAIT
    killed.close()


def test_datasets_are_polled_less_often_the_longer_they_run_but_at_least_every_so_often() -> None:
    def pause(*ran: timedelta) -> timedelta:
        requests = [Request(at=NOON - each, trigger=Trigger.ON_DEMAND, dataset_id="dataset") for each in ran]
        feeds = [Feed(company_id="c", data_type="bills", connection_id="xero").requested(each) for each in requests]
        return between_polls(feeds, NOON)

    second = timedelta(seconds=1)
    assert pause() == pause(timedelta(0)) == pause(-30 * second) == POLL_EVERY
    assert POLL_EVERY < pause(10 * second, 50 * second) == pause(10 * second) < pause(20 * second)
    assert pause(timedelta(hours=1)) == POLL_AT_LEAST_EVERY
