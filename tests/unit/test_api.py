"""The HTTP API before anything is read: its routes, and what it says about bodies that it refuses."""

import base64
import json
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from freshness.app.api.api import answer, openapi
from freshness.app.api.models import DataTypeFreshness, EnsureFreshBody
from freshness.app.api.routes import Route
from freshness.app.ensure.problems import seconds
from freshness.app.reading.views import FeedView
from local.http_api import context
from stack_access.api import api_event

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


@pytest.mark.parametrize("body", [None, "", "{", "[" * 100_000, '{"maxAge": ' + "9" * 5000 + "}", "\ufeff{}"])
def test_a_body_that_is_not_json_is_malformed(body: str | None) -> None:
    problem = refused(api_event("POST", PATH, body=body))

    assert (problem["status"], problem["type"]) == (400, "urn:codat-freshness:problem:malformed")


@pytest.mark.parametrize("body", ["###", "a", base64.b64encode(b"\xff\xfe").decode()])
def test_an_encoded_body_that_is_no_text_is_malformed(body: str) -> None:
    problem = refused(api_event("POST", PATH, body=body) | {"isBase64Encoded": True})

    assert problem["type"] == "urn:codat-freshness:problem:malformed"


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
