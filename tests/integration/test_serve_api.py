"""The API over HTTP: ensuring fresh data of a company, with real tables, and the sandbox as Codat."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

import serve_api
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.app.api.api import openapi
from freshness.app.api.routes import Route
from freshness.domain.companies.company import Company, ConnectionStatus
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.datasets.sync_history import SAME_END
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request
from local.http_api import context, serving
from stack_access.api import api_event
from tests import webhook_bodies
from tests.integration.deployed import Deployed

SECOND = timedelta(seconds=1)
TYPES = ["invoices", "bills"]
DESCRIPTION = openapi()


@pytest.fixture
def api(deployed: Deployed) -> Iterator[httpx.Client]:
    """Return a client of the API, after the companies were found and every feed was read once."""
    deployed.check()
    with (
        serving() as url,
        httpx.Client(base_url=url, timeout=40, event_hooks={"response": [is_as_described]}) as client,
    ):
        yield client


def is_as_described(response: httpx.Response) -> None:
    """Check that the API's description has the status of a response, and that the body matches its schema there."""
    response.read()
    [operations] = [
        operations
        for path, operations in DESCRIPTION["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), response.url.path)
    ]
    described = operations[response.request.method.lower()]["responses"][str(response.status_code)]
    schema = described["content"][response.headers["Content-Type"]]["schema"]
    jsonschema.Draft202012Validator(schema | {"components": DESCRIPTION["components"]}).validate(response.json())


@pytest.fixture
def company(api: httpx.Client, deployed: Deployed) -> Company:
    """Return a company whose invoices and bills can be read, and were read an hour ago."""
    for company in deployed.tables.companies.scan():
        mine = feeds(deployed, company, TYPES)
        if {feed.data_type for feed in mine} == set(TYPES) and all(
            company.connections[feed.connection_id].is_linked for feed in mine
        ):
            for feed in mine:
                deployed.tables.feeds.update(feed, read_an_hour_ago)
            return company
    raise AssertionError("the sandbox has no such company")


def read_an_hour_ago(feed: Feed) -> Feed:
    at = datetime.now(UTC) - timedelta(hours=1)
    new = Feed(company_id=feed.company_id, data_type=feed.data_type, connection_id=feed.connection_id)
    new = new.requested(Request(at=at, trigger=Trigger.PROMISE, dataset_id="earlier"))
    return new.ended(End(at=at + SECOND, state=DatasetState.COMPLETE), records_modified=True)


def feeds(deployed: Deployed, company: Company, data_types: list[str]) -> list[Feed]:
    known = deployed.tables.feeds.of_company(company.company_id)
    return [feed for feed in known if feed.data_type in data_types]


def ensure(api: httpx.Client, company_id: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    asked = {"dataTypes": TYPES, "maxAge": "PT10M", "within": "PT10M"} | (body or {})
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.post(f"/companies/{company_id}/ensure-fresh", json=asked, headers=names)


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Return the members of a problem."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:codat-freshness:problem:{kind}"
    assert body["status"] == status
    return body


def queueing_calls(deployed: Deployed) -> int:
    return deployed.sandbox.sandbox.calls["refresh-data-type"]


def test_what_is_fresh_enough_is_answered_at_once_without_a_call_of_codat(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    before = deployed.sandbox.sandbox.calls.total()

    response = ensure(api, company.company_id, {"maxAge": "PT2H"})

    assert response.status_code == 200
    body = response.json()
    assert body["done"] is True
    assert body["id"] is None
    assert {(each["dataType"], each["state"], each["datasetId"]) for each in body["dataTypes"]} == {
        (data_type, "fresh", "earlier") for data_type in TYPES
    }
    for each in body["dataTypes"]:
        assert each["asOf"] >= body["notBefore"]
        assert 3590 < each["age"] < 3700
        assert each["recordsModified"] is True
    assert deployed.sandbox.sandbox.calls.total() == before


def test_what_is_too_old_is_queued_at_once_and_fresh_when_asked_again(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    accepted = ensure(api, company.company_id)

    assert accepted.status_code == 202
    body = accepted.json()
    assert body["done"] is False
    assert body["probability"] > 0.5
    assert int(accepted.headers["Retry-After"]) >= 1
    assert queueing_calls(deployed) == 2
    location = accepted.headers["Location"]
    time.sleep(1.1)
    done = api.get(location, headers={"Prefer": "wait=10"})
    assert done.status_code == 200
    assert done.json()["done"] is True
    assert {each["state"] for each in done.json()["dataTypes"]} == {"fresh"}
    assert all(each["asOf"] >= done.json()["notBefore"] for each in done.json()["dataTypes"])
    assert queueing_calls(deployed) == 2
    assert api.get(location).json()["dataTypes"][0]["asOf"] == done.json()["dataTypes"][0]["asOf"]
    assert {feed.last_dataset.trigger for feed in feeds(deployed, company, TYPES) if feed.last_dataset} == {"on demand"}


def test_a_caller_who_waits_is_answered_when_the_data_is_fresh(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    response = ensure(api, company.company_id, Prefer="respond-async, wait=20")

    assert response.status_code == 200
    assert response.json()["done"] is True
    assert queueing_calls(deployed) == 2


def test_a_repeated_key_has_its_effect_once_and_never_moves_not_before(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    first = ensure(api, company.company_id, Idempotency_Key="close of November")
    again = ensure(api, company.company_id, Idempotency_Key="close of November")

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["Location"] == again.headers["Location"]
    assert first.json()["notBefore"] == again.json()["notBefore"]
    assert queueing_calls(deployed) == 2
    other = ensure(api, company.company_id, {"maxAge": "PT20M"}, Idempotency_Key="close of November")
    problem(other, 422, "key-reused")
    another_caller = ensure(
        api, company.company_id, Idempotency_Key="close of November", X_Test_Caller="arn:aws:iam::1:user/other"
    )
    assert another_caller.headers["Location"] != first.headers["Location"]


def test_a_key_that_is_being_answered_is_refused_for_now(api: httpx.Client, company: Company) -> None:
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ensure, api, company.company_id, Idempotency_Key="k", Prefer="wait=15")
        time.sleep(0.5)
        second = ensure(api, company.company_id, Idempotency_Key="k")
        assert first.result().status_code == 200
    if second.status_code != 200:  # unless the first was quicker
        assert problem(second, 409, "key-in-progress")
        assert second.headers["Retry-After"] == "1"


def test_a_company_or_a_request_that_does_not_exist_is_not_found(api: httpx.Client) -> None:
    problem(ensure(api, "nobody"), 404, "unknown-company")
    problem(api.get("/companies/nobody/freshness"), 404, "unknown-company")
    problem(api.get(Route.GET_REQUEST.path("nobody", "nothing")), 404, "unknown-request")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"dataTypes": None}, "invalid"),
        ({"dataTypes": None, "set": "no such set"}, "unknown-set"),
        ({"within": "P7D"}, "deadline-out-of-range"),
        ({"maxAge": None, "notBefore": "2126-11-23T12:00:00Z"}, "not-before-in-future"),
    ],
)
def test_a_body_that_cannot_be_granted_is_refused_with_the_reason(
    api: httpx.Client, company: Company, body: dict[str, Any], kind: str
) -> None:
    assert problem(ensure(api, company.company_id, body), 422, kind)["detail"]


def forget_links(deployed: Deployed, company: Company) -> None:
    """Have no link of a company be recent enough to be given to another caller."""
    known = deployed.tables.companies.get(company.company_id)
    assert known
    connections = {key: replace(each, link_url="", link_url_read_at=None) for key, each in known.connections.items()}
    deployed.tables.companies.put(replace(known, connections=connections))


def test_a_connection_that_must_be_authorised_is_a_conflict_with_its_link(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    for feed in feeds(deployed, company, ["invoices"]):
        deployed.tables.feeds.update(
            feed, lambda feed: feed.ended(End(at=datetime.now(UTC), state=DatasetState.PERMISSIONS_ERROR))
        )

    body = problem(ensure(api, company.company_id), 409, "relink-needed")

    [link] = body["linkUrls"].values()
    assert link.startswith("http")
    forget_links(deployed, company)
    deployed.sandbox.do(
        lambda sandbox: sandbox.stubs.add(StubResponse(path=f"/companies/{company.company_id}", status=403))
    )
    assert list(problem(ensure(api, company.company_id), 409, "relink-needed")["linkUrls"].values()) == [""]


def test_a_connection_that_our_own_user_unlinked_is_a_conflict_that_asks_no_customer(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    unlinked = {name: replace(each, status=ConnectionStatus.UNLINKED) for name, each in company.connections.items()}
    deployed.tables.companies.update(company, lambda known: replace(known, connections=unlinked))

    body = problem(ensure(api, company.company_id), 409, "unlinked")

    assert body["detail"].endswith("at Codat: it can be read once it is linked again.")


def test_a_pause_applies(api: httpx.Client, company: Company, deployed: Deployed) -> None:
    deployed.tables.control.pause()

    problem(ensure(api, company.company_id), 409, "paused")
    assert ensure(api, company.company_id, {"maxAge": "PT2H"}).status_code == 200


def test_a_share_that_is_spent_is_refused_until_it_is_renewed(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    control = deployed.tables.control
    now = deployed.clock()
    control.update_api_limits(
        control.api_limits(), lambda known: known.with_quota(100, 90, now + SECOND).with_calls(7, now, on_demand=7)
    )

    response = ensure(api, company.company_id)

    assert problem(response, 429, "share-spent")["remaining"] == 1
    assert 0 < int(response.headers["Retry-After"]) <= 24 * 60 * 60
    assert queueing_calls(deployed) == 0


def test_while_codat_accepts_no_calls_the_service_is_unavailable_until_then(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    control, until = deployed.tables.control, deployed.clock() + timedelta(minutes=7)
    control.update_api_limits(control.api_limits(), lambda known: known.with_stop(until, deployed.clock()))

    response = ensure(api, company.company_id)

    assert problem(response, 503, "codat-unavailable")["until"]
    assert 400 < int(response.headers["Retry-After"]) <= 420


def test_a_request_that_was_accepted_before_codat_failed_goes_on_and_the_error_names_it(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    stub = StubResponse(method="POST", path="*/data/queue/*", status=500, times=100)
    deployed.sandbox.do(lambda sandbox: sandbox.stubs.add(stub))

    response = ensure(api, company.company_id)

    assert problem(response, 503, "codat-unavailable")["until"]
    body = api.get(response.headers["Location"]).json()
    assert body["done"] is False
    assert {each["state"] for each in body["dataTypes"]} == {"stale"}


def test_a_webhook_ends_a_request_at_once(api: httpx.Client, company: Company, deployed: Deployed) -> None:
    settings = taking(deployed.sandbox.backend.settings, timedelta(minutes=5))
    deployed.sandbox.do(lambda sandbox: sandbox.backend.change_settings(settings, datetime.now(UTC)))
    request_id = ensure(api, company.company_id).json()["id"]
    reads = [(feed.connection_id, feed.data_type, "Complete") for feed in feeds(deployed, company, TYPES)]
    # One that is dated sooner might be about an earlier read.
    at = datetime.now(UTC) + SAME_END + SECOND

    deployed.apply(webhook_bodies.read_completed(at, reads[0], company_id=company.company_id))
    waits = deployed.tables.requests.get(request_id)
    deployed.apply(webhook_bodies.read_completed(at, *reads[1:], company_id=company.company_id))
    ended = deployed.tables.requests.get(request_id)

    assert waits
    assert not waits.is_done
    assert ended
    assert ended.is_fresh


def test_a_deadline_that_the_last_syncs_make_impossible_is_refused_at_once_if_the_caller_prefers(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    [feed, *_] = feeds(deployed, company, ["invoices"])
    slow = Feed(company_id=feed.company_id, data_type=feed.data_type, connection_id=feed.connection_id)
    at = datetime.now(UTC) - timedelta(hours=5)
    for number in range(4):
        start = at + number * timedelta(hours=1)
        slow = slow.requested(Request(at=start, trigger=Trigger.PROMISE, dataset_id=str(number)))
        slow = slow.ended(End(at=start + timedelta(minutes=10), state=DatasetState.COMPLETE))
    deployed.tables.feeds.update(feed, lambda _: slow)
    asked = {"dataTypes": ["invoices"], "within": "PT1M"}

    refused = ensure(api, company.company_id, asked | {"onLate": "fail"})
    accepted = ensure(api, company.company_id, asked)

    assert "shortest of its last" in problem(refused, 422, "deadline-impossible")["detail"]
    assert accepted.status_code == 202
    assert accepted.json()["probability"] == 0


def test_past_the_deadline_a_request_ends_with_the_best_copy_and_its_age(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    settings = taking(deployed.sandbox.backend.settings, timedelta(minutes=5))
    deployed.sandbox.do(lambda sandbox: sandbox.backend.change_settings(settings, datetime.now(UTC)))
    stale = ensure(api, company.company_id, {"within": 1})
    failed = ensure(api, company.company_id, {"within": 1, "onLate": "fail"})
    time.sleep(1.2)

    for accepted, state in ((stale, "stale"), (failed, "failed")):
        body = api.get(accepted.headers["Location"]).json()
        assert body["done"] is True
        assert {each["state"] for each in body["dataTypes"]} == {state}
        assert all(3500 < each["age"] < 3700 for each in body["dataTypes"])
    assert all(feed.in_flight for feed in feeds(deployed, company, TYPES))


def taking(settings: Settings, took: timedelta) -> Settings:
    return settings.model_copy(update={"sync_time_min": took, "sync_time_max": took})


def test_the_freshness_of_a_company_is_described(api: httpx.Client, company: Company) -> None:
    body = api.get(f"/companies/{company.company_id}/freshness").json()

    [invoices] = [each for each in body["dataTypes"] if each["dataType"] == "invoices"]
    assert invoices["state"] == "fresh"
    assert invoices["promise"] in (2 * 3600, 6 * 3600)
    assert invoices["asOfIsEstimated"] is False
    assert 0 < invoices["probabilityUpToDate"] < 1


def test_the_description_is_served_and_valid(api: httpx.Client) -> None:
    served = api.get("/openapi.json").json()

    assert served == openapi()
    assert served["openapi"] == "3.1.0"
    for schema in served["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    text = str(served)
    for name in served["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text


def test_a_tick_finishes_what_a_crash_left_behind(
    api: httpx.Client, company: Company, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The function was stopped."""

    def stop(*_: Any, **__: Any) -> None:
        raise Killed

    body = {"dataTypes": TYPES, "maxAge": 600, "within": 600}
    call = api_event("POST", Route.ENSURE_FRESH.path(company.company_id), body=body)
    with monkeypatch.context() as patch:
        patch.setattr("freshness.app.ensure.advance.Advancer.record_demand", stop)
        with pytest.raises(Killed):
            serve_api.handler(call, context())
    [request] = deployed.tables.requests.open_of_company(company.company_id)
    assert queueing_calls(deployed) == 0

    deployed.queue()
    assert all(feed.in_flight or feed.is_as_of(request.not_before) for feed in feeds(deployed, company, TYPES))
    assert deployed.tables.control.api_limits().on_demand_calls_on(deployed.clock().date()) == len(TYPES)
    deployed.ahead = timedelta(minutes=1)
    deployed.queue()
    deployed.check(listing=False)
    deployed.queue()

    ended = deployed.tables.requests.get(request.request_id)
    assert ended
    assert ended.is_fresh
    assert list(deployed.tables.requests.open(deployed.clock() + timedelta(days=9))) == []
    assert deployed.tables.requests.open_of_company(company.company_id) == []


def test_many_calls_of_fifty_callers_cost_at_most_two_queueing_calls_for_each_feed(
    api: httpx.Client, company: Company, deployed: Deployed
) -> None:
    known = deployed.tables.feeds.of_company(company.company_id)
    readable = [
        feed
        for feed in known
        if company.connections[feed.connection_id].is_linked
        and not feed.is_unsupported
        and not feed.is_blocked(company.connections[feed.connection_id])
    ]
    data_types = sorted({feed.data_type for feed in readable})[:5]
    mine = feeds(deployed, company, data_types)
    assert len(data_types) == 5
    for feed in mine:
        deployed.tables.feeds.update(feed, read_an_hour_ago)
    settings = taking(deployed.sandbox.backend.settings, 3 * SECOND).model_copy(update={"fails_first": 0.0})
    deployed.sandbox.do(lambda sandbox: sandbox.backend.change_settings(settings, datetime.now(UTC)))

    def call(caller: int) -> list[tuple[int, dict[str, Any]]]:
        """Make four calls, and ask for each until it is done."""
        done = []
        with httpx.Client(base_url=api.base_url, timeout=60) as client:
            for number in range(4):
                body = {"dataTypes": data_types, "maxAge": 60 + number}
                response = ensure(
                    client, company.company_id, body, X_Test_Caller=f"arn:aws:iam::1:user/{caller}", Prefer="wait=20"
                )
                while response.status_code == 202 or (response.status_code == 200 and not response.json()["done"]):
                    time.sleep(min(2, int(response.headers["Retry-After"])))
                    response = client.get(response.headers["Location"], headers={"Prefer": "wait=20"})
                done.append((response.status_code, response.json()))
        return done

    with ThreadPoolExecutor(max_workers=50) as pool:
        answers = [answer for answers in pool.map(call, range(50)) for answer in answers]

    assert len(answers) == 200
    assert {(status, body.get("type")) for status, body in answers} == {(200, None)}
    for _, body in answers:
        for each in body["dataTypes"]:
            assert each["state"] == "fresh"
            assert each["asOf"] >= body["notBefore"]
    assert queueing_calls(deployed) <= 2 * len(mine)
    assert deployed.sandbox.sandbox.calls.total() < 100


def test_the_functions_role_allows_what_it_calls(api: httpx.Client, company: Company, deployed: Deployed) -> None:
    body = {"dataTypes": TYPES, "maxAge": 600, "within": 600}
    headers = {"Prefer": "wait=20", "Idempotency-Key": "k"}
    call = api_event("POST", Route.ENSURE_FRESH.path(company.company_id), body=body, headers=headers)

    response = serve_api.handler(call, context(timedelta(seconds=29)))

    assert response["statusCode"] == 200, response["body"]
    assert not deployed.roles.refused
