"""Requests to the API, with tables in memory: how they end, how many are open, and what faults of AWS do to them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from estimate.memory_dynamodb import MemoryDynamoDB, tables_in_memory
from freshness.app.api.api import answer
from freshness.app.api.routes import Route
from freshness.app.ensure import accept
from freshness.app.ensure.accept import EnsureFresh
from freshness.app.ensure.admission import estimated
from freshness.app.ensure.finish import Finisher
from freshness.app.queueing.calls import take_lease
from freshness.app.record import Recorder
from freshness.aws.dynamodb.control_items.freshness_requests import FreshnessRequests
from freshness.aws.dynamodb.table import ContentionError
from freshness.aws.event_bus import NotPublished
from freshness.aws.metrics import Metric
from freshness.domain.audit import AuditEntry
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request
from freshness.domain.feeds.freshness_request import FreshnessRequest
from freshness.domain.transitions.notifications import Notification
from freshness.policy.policy import Policy
from local.http_api import context
from stack_access.api import api_event
from tests.api_description import require_described
from tests.builders import HOUR, MINUTE, NOON, SECOND, a_connection, a_policy
from tests.integration.recording_bus import RecordingBus
from tests.services import codat_at, services_of

POLICY = a_policy("6 hours")
OURS, THEIRS = "arn:aws:iam::1:user/ours", "arn:aws:iam::1:user/theirs"


class Killed(BaseException):
    """The function was stopped."""


class Bus(RecordingBus):
    """A bus that may be down, or kill the function that publishes."""

    failure: BaseException | None = None

    def publish(self, notifications: Sequence[Notification]) -> None:
        if self.failure:
            raise self.failure
        super().publish(notifications)

    @property
    def ends(self) -> list[dict[str, Any]]:
        """What was published of the ends of requests."""
        return [each.detail() for each in self.published if "request" in each.id]


class World:
    """Companies whose invoices were read two hours ago, and a Codat that takes a minute for each read."""

    def __init__(self, companies: int = 1, policy: Policy = POLICY) -> None:
        self.now = NOON
        self.bus = Bus()
        self.before_call: Callable[[], None] = lambda: None
        self.dynamodb = MemoryDynamoDB(lambda: self.before_call())
        self.tables = tables_in_memory(self.dynamodb)
        self.datasets: dict[str, dict[str, Any]] = {}
        self.refuses_with = 0
        self.measured: dict[Metric, int] = {}
        codat = codat_at("http://codat", "key", httpx.MockTransport(self._respond))
        self.services = services_of(
            self.tables, policy, bus=self.bus, clock=lambda: self.now, codat=codat, measured=self.measured
        )
        self.ensure = EnsureFresh(services=self.services)
        for number in range(companies):
            connection = a_connection(f"connection{number}", NOON - 720 * HOUR)
            self.tables.companies.put(
                Company(company_id=f"company{number}", connections={connection.connection_id: connection})
            )
            feed = Feed(company_id=f"company{number}", data_type="invoices", connection_id=connection.connection_id)
            self.tables.feeds.put(read(feed, NOON - 2 * HOUR))

    def call(self, method: str, path: str, caller: str = OURS, **given: Any) -> httpx.Response:
        made = answer(lambda: self.services, api_event(method, path, caller=caller, **given), context())
        response = httpx.Response(made["statusCode"], headers=made["headers"], text=made["body"])
        require_described(method, path, response)
        return response

    def ask(self, company: int = 0, caller: str = OURS, headers: dict[str, str] | None = None, **asked: Any) -> Any:
        body = {"dataTypes": ["invoices"], "notBefore": NOON.isoformat(), "within": "1h"} | asked
        return self.call("POST", Route.ENSURE_FRESH.path(f"company{company}"), caller, body=body, headers=headers)

    def feed(self, company: int = 0) -> Feed:
        return self.tables.feeds.get(f"company{company}", "invoices", f"connection{company}", consistent=True)

    def read(self, company: int = 0) -> None:
        """Let a read of the invoices end that was requested a second after noon."""
        self.tables.feeds.update(self.feed(company), lambda feed: read(feed, NOON + SECOND))

    def stored(self) -> list[FreshnessRequest]:
        names = [item["name"] for item in self.tables.requests._table.scan()]
        prefix = "freshness request "
        found = [self.tables.requests.get(name.removeprefix(prefix)) for name in names if name.startswith(prefix)]
        return [request for request in found if request]

    def audited(self) -> list[AuditEntry]:
        """What the audit has, the earliest first."""
        return list(self.tables.audit.since(NOON - HOUR, self.now))

    def tick(self) -> int:
        return self.ensure.end_due_requests(self.now + MINUTE)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        if self.refuses_with:
            return httpx.Response(self.refuses_with, json={})
        if request.method == "GET":
            return httpx.Response(200, json=self.datasets[request.url.path.split("/")[-1]])
        _, _, company_id, _, _, data_type = request.url.path.split("/")
        dataset_id = f"dataset-{len(self.datasets)}"
        self.datasets[dataset_id] = {
            "id": dataset_id,
            "companyId": company_id,
            "connectionId": request.url.params["connectionId"],
            "dataType": data_type,
            "status": "Queued",
            "requested": self.now.isoformat(),
            "progress": 0,
        }
        return httpx.Response(200, json=self.datasets[dataset_id])


def read(feed: Feed, at: datetime) -> Feed:
    """Return a feed after a read that was requested at a time and took a minute."""
    requested = feed.requested(Request(at=at, trigger=Trigger.PROMISE, dataset_id=f"at {at}"))
    return requested.ended(End(at=at + MINUTE, state=DatasetState.COMPLETE, dataset_id=f"at {at}"))


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Return the members of a problem."""
    assert (response.status_code, response.json()["type"]) == (status, f"urn:codat-freshness:problem:{kind}")
    assert response.headers["Content-Type"] == "application/problem+json"
    members: dict[str, Any] = response.json()
    return members


def throttled() -> None:
    raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "GetItem")


def timed_out() -> None:
    raise ReadTimeoutError(endpoint_url="https://dynamodb")


def refused() -> None:
    raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetItem")


def test_an_end_that_a_killed_run_stored_is_published_as_it_was_stored() -> None:
    world = World()
    asked = world.ask(within=60)
    world.now = NOON + 2 * MINUTE
    world.bus.failure = Killed()
    with pytest.raises(Killed):
        world.call("GET", asked.headers["Location"])
    world.bus.failure = None
    world.read()

    world.tick()
    world.tick()

    [published] = world.bus.ends
    [stored] = world.stored()
    assert [each["state"] for each in published["dataTypes"]] == ["stale"]
    assert [each.state for each in stored.results] == ["stale"]
    assert stored.is_published
    assert world.call("GET", asked.headers["Location"]).json()["dataTypes"][0]["state"] == "stale"


def by_webhook(world: World) -> None:
    Finisher(services=world.services).finish_of_companies(["company0"])


@pytest.mark.parametrize("later", [World.tick, by_webhook])
def test_while_the_bus_is_down_a_caller_learns_the_end_and_a_tick_or_webhook_publishes_it_later(
    later: Callable[[World], object],
) -> None:
    world = World()
    asked = world.ask()
    world.read()
    world.bus.failure = NotPublished("the bus is down")

    found = world.call("GET", asked.headers["Location"])
    world.tick()
    assert (found.status_code, found.json()["done"]) == (200, True)
    assert world.bus.ends == []
    world.bus.failure = None
    later(world)

    [published] = world.bus.ends
    assert published["requestId"] == found.json()["id"]
    assert [each["platform"] for each in published["dataTypes"]] == ["Xero"]
    assert list(world.tables.requests.open(world.now + 200 * HOUR)) == []


@pytest.mark.parametrize("fault", [throttled, timed_out])
@pytest.mark.parametrize("path", [Route.GET_FRESHNESS.path("company0"), Route.GET_REQUEST.path("company0", "r")])
def test_a_fault_of_aws_is_a_problem_that_says_when_to_repeat_the_call(fault: Callable[[], None], path: str) -> None:
    world = World()
    world.before_call = fault

    response = world.call("GET", path)

    problem(response, 503, "aws-unavailable")
    assert response.headers["Retry-After"] == "5"


def test_a_fault_after_a_request_was_accepted_names_the_request_which_goes_on() -> None:
    world = World()
    put = world.tables.requests.put

    def break_down(request: FreshnessRequest) -> FreshnessRequest:
        stored = put(request)
        world.before_call = throttled
        return stored

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.tables.requests), "put", lambda _, request: break_down(request))
        response = world.ask()
    world.before_call = lambda: None

    assert response.json()["type"] == "urn:codat-freshness:problem:aws-unavailable"
    assert world.call("GET", response.headers["Location"]).json()["done"] is False
    assert world.tick() == 1
    assert world.feed().wanted


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"dataTypes": []}, "invalid"),
        ({"dataTypes": None}, "invalid"),
        ({"notBefore": None, "maxAge": "soon"}, "invalid"),
        ({"maxAge": "PT10M"}, "invalid"),
        ({"within": None}, "invalid"),
        ({"dataTypes": None, "set": "no such set"}, "unknown-set"),
        ({"within": "P7D"}, "deadline-out-of-range"),
        ({"notBefore": "2126-11-23T12:00:00Z"}, "not-before-in-future"),
    ],
)
def test_a_body_that_cannot_be_granted_is_refused_with_the_reason(asked: dict[str, Any], kind: str) -> None:
    assert problem(World().ask(**asked), 422, kind)["detail"]


def test_a_repeated_key_has_its_effect_once_and_never_moves_not_before() -> None:
    world = World()

    def ask(caller: str = OURS, max_age: str = "PT10M") -> httpx.Response:
        world.now += SECOND
        headers = {"Idempotency-Key": "November"}
        response: httpx.Response = world.ask(caller=caller, headers=headers, notBefore=None, maxAge=max_age)
        return response

    first, again = ask(), ask()

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["Location"] == again.headers["Location"]
    assert first.json()["notBefore"] == again.json()["notBefore"]
    assert len(world.datasets) == 1
    problem(ask(max_age="PT20M"), 422, "key-reused")
    assert ask(THEIRS).headers["Location"] != first.headers["Location"]


def test_nothing_is_queued_during_a_pause_and_what_is_fresh_is_answered() -> None:
    world = World()
    world.tables.control.pause()

    problem(world.ask(), 409, "paused")
    assert world.audited() == []  # What is refused is no operation.
    assert world.ask(notBefore=(NOON - 3 * HOUR).isoformat()).status_code == 200


def test_a_connection_that_our_own_user_unlinked_is_a_conflict_that_asks_no_customer() -> None:
    world = World()
    company = world.tables.companies.get("company0")
    assert company
    connections = {name: replace(each, status="Unlinked") for name, each in company.connections.items()}
    world.tables.companies.put(replace(company, connections=connections))

    refused = problem(world.ask(), 409, "unlinked")

    assert refused["detail"].endswith("at Codat: it can be read once it is linked again.")


def test_a_share_that_is_spent_is_refused_until_it_is_renewed() -> None:
    world = World()
    control = world.tables.control
    control.update_api_limits(
        control.api_limits(), lambda known: known.with_quota(100, 90, NOON + SECOND).with_calls(9, NOON, on_demand=9)
    )

    response = world.ask()

    assert problem(response, 429, "share-spent")["remaining"] == 0
    assert response.headers["Retry-After"] == str(12 * 60 * 60)
    assert world.datasets == {}


def test_while_codat_accepts_no_calls_the_service_is_unavailable_until_then() -> None:
    world = World()
    control = world.tables.control
    control.update_api_limits(control.api_limits(), lambda known: known.with_stop(NOON + 7 * MINUTE, NOON))

    response = world.ask()

    assert problem(response, 503, "codat-unavailable")["until"]
    assert response.headers["Retry-After"] == str(7 * 60)


def test_a_request_that_was_accepted_before_codat_failed_goes_on_and_the_error_names_it() -> None:
    world = World()
    world.refuses_with = 500

    response = world.ask()

    assert problem(response, 503, "codat-unavailable")["until"]
    body = world.call("GET", response.headers["Location"]).json()
    assert (body["done"], [each["state"] for each in body["dataTypes"]]) == (False, ["stale"])


def test_a_deadline_that_the_last_syncs_make_impossible_is_refused_at_once_if_the_caller_prefers() -> None:
    world = World()
    slow = Feed(company_id="company0", data_type="invoices", connection_id="connection0")
    for hours in range(5, 1, -1):
        start = NOON - hours * HOUR
        slow = slow.requested(Request(at=start, trigger=Trigger.PROMISE, dataset_id=str(start)))
        slow = slow.ended(End(at=start + 10 * MINUTE, state=DatasetState.COMPLETE))
    world.tables.feeds.update(world.feed(), lambda _: slow)

    refused = world.ask(within="PT1M", onLate="fail")
    accepted = world.ask(within="PT1M")

    assert "shortest of its last" in problem(refused, 422, "deadline-impossible")["detail"]
    assert (accepted.status_code, accepted.json()["probability"]) == (202, 0)


@pytest.mark.parametrize(("on_late", "state"), [("stale", "stale"), ("fail", "failed")])
def test_past_the_deadline_a_request_ends_with_the_best_copy_and_its_age(on_late: str, state: str) -> None:
    world = World()
    accepted = world.ask(within="PT10M", onLate=on_late)
    world.now = NOON + 11 * MINUTE

    body = world.call("GET", accepted.headers["Location"]).json()

    assert body["done"] is True
    assert [(each["state"], each["age"]) for each in body["dataTypes"]] == [(state, 2 * 3600 + 11 * 60)]
    assert world.feed().in_flight


def test_that_codat_refuses_the_key_is_a_problem_that_an_alarm_learns_of() -> None:
    world = World()
    world.refuses_with = 401

    assert world.ask().json()["type"] == "urn:codat-freshness:problem:codat-unavailable"

    assert world.measured[Metric.CODAT_REFUSED_ACCESS] == 1


def test_a_data_type_that_the_company_does_not_have_is_refused_with_those_that_it_has() -> None:
    world = World()

    said = world.ask(dataTypes=["bills", "invoices"])

    problem(said, 422, "unsupported-data-type")
    assert said.json()["detail"] == "The company has no bills. It has invoices."
    assert world.datasets == {}


def test_a_refusal_of_aws_that_stays_is_no_problem_of_a_caller() -> None:
    world = World()
    world.before_call = refused

    with pytest.raises(ClientError, match="AccessDenied"):
        world.call("GET", Route.GET_FRESHNESS.path("company0"))


def test_the_same_caller_has_one_open_request_for_the_same_company_types_and_moment() -> None:
    world = World()

    locations = [world.ask().headers["Location"] for _ in range(5)]
    theirs = world.ask(caller=THEIRS).headers["Location"]
    later = world.ask(notBefore=(NOON - SECOND).isoformat()).headers["Location"]

    assert len({*locations}) == 1
    assert len({locations[0], theirs, later}) == 3
    assert len(world.stored()) == 3
    world.now = NOON + 2 * HOUR
    world.tick()
    assert world.ask().headers["Location"] not in locations


def test_what_another_function_queues_and_writes_at_the_moment_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    assert take_lease(world.tables.control, world.feed(), world.now)
    monkeypatch.setattr(Recorder, "record_feeds", Mock(side_effect=ContentionError("others came first")))

    assert world.ask(within=60).status_code == 202

    assert world.datasets == {}


def test_what_is_queued_for_a_caller_counts_towards_the_cap_on_spending() -> None:
    tables = {"prices": {"Xero": "1 USD per refresh"}, "budget": {"spending": {"Xero": "900 USD a month"}}}
    world = World(policy=a_policy("6 hours", **tables))

    world.ask()

    assert world.tables.spending.refreshes(NOON) == {"Xero": 1}


def test_an_estimate_is_of_what_is_not_fresh_yet() -> None:
    world = World()
    world.ask()
    [asked], company, invoices = world.stored(), world.services.tables.companies.get("company0"), world.feed()
    assert company
    slow = replace(invoices, data_type="bills").requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="slow"))
    fresh = slow.ended(End(at=NOON + 20 * MINUTE, state=DatasetState.COMPLETE, dataset_id="slow"))

    both = estimated(world.services, asked, [fresh, invoices], company)
    one = estimated(world.services, asked, [fresh], company)

    assert both == estimated(world.services, asked, [invoices], company)
    assert NOON < both.expected_at <= NOON + MINUTE
    assert (one.expected_at, one.probability, one.obstacle) == (NOON, 1.0, "")


def test_a_caller_learns_that_codat_pauses_the_read_and_nothing_is_written_while_that_is_no_news() -> None:
    world = World()
    world.ask()
    [dataset] = world.datasets.values()
    dataset |= {"status": "Fetching", "statusDescription": "Paused until 2026-11-23T15:00:00Z"}
    world.now += MINUTE

    world.ask()
    version = world.feed().version
    world.now += MINUTE
    world.ask()

    assert world.feed().paused_until == NOON + 3 * HOUR
    assert world.feed().version == version


def test_a_caller_who_makes_too_many_requests_is_refused_until_the_next_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "MOST_IN_AN_HOUR", 3)
    world = World(companies=5)

    accepted = [world.ask(company).status_code for company in range(3)]
    world.now = NOON + 20 * MINUTE
    refusal = world.ask(3)

    assert accepted == [202] * 3
    problem(refusal, 429, "too-many-requests")
    assert refusal.headers["Retry-After"] == str(40 * 60)
    assert world.ask(3, caller=THEIRS).status_code == 202
    assert world.ask(4, notBefore=(NOON - 3 * HOUR).isoformat()).status_code == 200  # satisfied at once
    world.now = NOON + HOUR
    assert world.ask(3).status_code == 202


def test_a_request_is_found_under_its_own_company_only() -> None:
    world = World(companies=2)
    request_id = world.ask().json()["id"]

    assert world.call("GET", Route.GET_REQUEST.path("company0", request_id)).status_code == 200
    other = world.call("GET", Route.GET_REQUEST.path("company1", request_id))
    problem(other, 404, "unknown-request")


def test_a_webhook_reads_the_open_requests_of_its_own_company_only() -> None:
    world = World(companies=30)
    world.ask()
    [request] = world.stored()
    for company in range(1, 30):
        about = f"company{company}"
        world.tables.requests.put(replace(request, request_id=about, company_id=about, version=0))
    world.read(7)

    world.dynamodb.calls.clear()
    Finisher(services=world.services).finish_of_companies(["company7"])

    assert world.dynamodb.calls.total() < 12
    assert [request.company_id for request in world.stored() if request.is_done] == ["company7"]


def test_open_requests_are_read_as_far_as_there_is_time_the_earliest_deadlines_first() -> None:
    world = World(companies=1)
    world.ask()
    [request] = world.stored()
    for number in range(1_000):
        deadline = NOON + HOUR + number * MINUTE
        world.tables.requests.put(replace(request, request_id=f"{number:04}", deadline=deadline, version=0))
    reads = 0

    def pass_time() -> None:
        nonlocal reads
        reads += 1
        world.now += SECOND

    world.before_call = pass_time
    world.dynamodb.calls.clear()
    world.ensure.end_due_requests(world.now + 7 * SECOND)

    assert world.dynamodb.calls["BatchGetItem"] <= 2
    assert reads < 20


def test_the_freshness_of_a_company_takes_two_round_trips() -> None:
    world = World()
    world.dynamodb.calls.clear()

    answered = world.call("GET", Route.GET_FRESHNESS.path("company0"))

    assert world.dynamodb.calls == {"BatchGetItem": 1, "Query": 1}
    [invoices] = answered.json()["dataTypes"]
    assert (answered.status_code, invoices["dataType"], invoices["state"]) == (200, "invoices", "fresh")
    assert (invoices["promise"], invoices["asOfIsEstimated"]) == (6 * 3600, False)
    assert 0 < invoices["probabilityUpToDate"] < 1


def test_a_request_is_kept_with_who_asked_what_for_and_what_was_answered_as_long_as_the_policy_says() -> None:
    world = World(policy=a_policy("6 hours", requests={"keep_requests": "400 days"}))
    asked = world.ask(purpose="loan 4711")
    world.read()
    world.now = NOON + 5 * MINUTE
    world.tick()
    at_once = world.ask(notBefore=(NOON - HOUR).isoformat())

    world.now = NOON + 399 * 24 * HOUR
    [first, second] = (world.call("GET", answered.headers["Location"]).json() for answered in (asked, at_once))
    assert (first["askedBy"], first["purpose"], first["askedAt"]) == (OURS, "loan 4711", "2026-11-23T12:00:00Z")
    assert (first["done"], first["doneAt"]) == (True, "2026-11-23T12:05:00Z")
    [result] = first["dataTypes"]
    assert (result["state"], result["datasetId"]) == ("fresh", f"at {NOON + SECOND}")
    assert (second["done"], second["askedBy"]) == (True, OURS)
    assert len(world.bus.ends) == 1
    world.now += 2 * 24 * HOUR
    assert world.call("GET", asked.headers["Location"]).status_code == 404


def test_what_is_fresh_at_once_is_kept_only_if_that_is_wanted() -> None:
    world = World()
    old = (NOON - 3 * HOUR).isoformat()

    assert world.ask(notBefore=old).json()["id"] is None
    assert world.stored() == []
    assert world.ask(notBefore=old, purpose="audit").json()["id"]
    [kept] = world.stored()
    assert (kept.purpose, kept.results[0].dataset_id) == ("audit", f"at {NOON - 2 * HOUR}")
    assert world.tick() == 0


def test_who_asks_is_in_the_audit_once_however_often_the_call_is_repeated() -> None:
    world, key = World(), {"Idempotency-Key": "decision 7"}
    for _ in range(2):
        world.ask(headers=key)
        world.now += SECOND

    [entry] = world.audited()

    assert (entry.operation, entry.who, entry.source) == ("ensure", OURS, "an invocation of serve_api")
    assert (entry.company_id, entry.what, entry.at) == ("company0", "invoices as of 2026-11-23 12:00 UTC", NOON)
    operations = [each for each in world.bus.published if each.detail_type == "Operation performed"]
    assert len({each.id for each in operations}) == 1


def test_a_request_that_cannot_be_recorded_is_refused_and_nothing_of_it_is_carried_out() -> None:
    world, key = World(), {"Idempotency-Key": "decision 8"}
    world.bus.failure = NotPublished("throttled")
    assert world.ask(headers=key).status_code == 503
    world.now += SECOND
    assert world.ask().status_code == 503
    world.now += SECOND
    assert world.ask(notBefore=(NOON - 3 * HOUR).isoformat(), purpose="loan 4711").status_code == 503
    assert world.stored() == []
    assert world.tick() == 0
    assert not world.feed().wanted
    assert [each.failed for each in world.audited()] == ["throttled"] * 3

    world.bus.failure = None
    world.now += SECOND
    assert world.ask(headers=key).status_code == 202
    assert [(each.who, each.failed) for each in world.audited()[3:]] == [(OURS, "")]


def test_a_request_that_cannot_be_stored_is_recorded_and_published_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(FreshnessRequests, "put", Mock(side_effect=ContentionError("too many writers")))

    assert world.ask().status_code == 503
    [entry] = world.audited()
    assert entry.failed == "too many writers"
    begun, failed = (each.detail() for each in world.bus.published)
    assert (begun["failed"], failed["failed"]) == ("", "too many writers")
    assert begun["id"] != failed["id"]
