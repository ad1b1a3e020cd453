"""The roles allow what the functions do, and nothing else: each call of every test with handlers is checked.

Of each action on a resource that a role allows, a test here makes a call: without it, that test fails.
"""

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

import serve_api
from codat_sandbox.model import RequestedBy
from codat_sandbox.sandbox import Sandbox
from freshness.app import services
from freshness.app.api.routes import Route
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import Dataset, DatasetState, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request, Wanted
from freshness.domain.feeds.freshness_request import FreshnessRequest
from freshness.domain.learned.learned_rates import PlatformTypeRate
from local.http_api import context
from stack_access.api import api_event
from tests import webhook_bodies
from tests.infra.template import parameter
from tests.integration.deployed import SETTINGS, Deployed, secret, signed
from tests.integration.roles import FUNCTIONS, Permission, allowed, template

BY_LAMBDA = ("logs:", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
"""What Lambda itself does with the role: it writes the log, and reads the queue."""


def do_everything(deployed: Deployed, patch: pytest.MonkeyPatch) -> None:
    """Let the functions make every kind of call that they ever make."""
    for variable in ("WEBHOOK_QUEUE_URL", "WEBHOOK_DEAD_LETTER_QUEUE_URL"):
        patch.setenv(variable, boto3.client("sqs").create_queue(QueueName=uuid4().hex)["QueueUrl"])
    patch.setenv("MAX_RECEIVE_COUNT", "20")
    patch.setenv("WEBHOOK_HEADER", "X-Our-Key")
    patch.setenv("WEBHOOK_HEADER_SECRET", secret("value"))
    webhook = signed()
    webhook["headers"]["x-our-key"] = "value"
    assert deployed.receive(webhook) == {"statusCode": 202}
    deployed.sandbox.do(let_others_read)
    deployed.check()
    record_those_in_flight(deployed)
    company, connection_id = deployed.linked()
    feeds = deployed.tables.feeds.of_company(company.company_id)
    due = (feed for feed in feeds if feed.connection_id == connection_id and feed.due_at)
    complete_at_once(deployed, next(feed for feed in due if feed.due_at and feed.due_at <= deployed.clock()))
    deployed.queue()
    record_those_in_flight(deployed)
    deployed.ahead += timedelta(days=8)
    deployed.check()
    set_paused_and_deleted(deployed)
    deployed.queue()
    feed = next(
        feed
        for feed in deployed.tables.feeds.of_company(company.company_id)
        if feed.in_flight and feed.connection_id == connection_id
    )
    record_those_in_flight(deployed)
    ask_for_fresh_data(deployed, feed)
    read = (connection_id, feed.data_type, "Complete")
    deployed.tables.learned._write({"Xero invoices": PlatformTypeRate(1, 0.0)})
    deployed.tables.learned._read_at = None  # In AWS each function has a process of its own.
    deployed.apply(webhook_bodies.read_completed(deployed.clock(), read, company_id=company.company_id))
    deployed.apply(webhook_bodies.rate_limit(deployed.clock(), "reached", deployed.clock()))
    deployed.apply("{")
    deployed.ahead += timedelta(days=8)
    deployed.queue()
    deployed.apply(webhook_bodies.company(deployed.clock(), "deleted", company_id=company.company_id))
    deployed.stub(path="/companies", body='{"results": []}')
    deployed.stub(status=404)
    for _ in range(3):
        deployed.ahead += timedelta(minutes=20)
        deployed.check()
    ask_for_fresh_data(deployed, feed)
    deployed.queue()


def let_others_read(sandbox: Sandbox) -> None:
    """Let a dataset run for long that others requested."""
    backend, now = sandbox.backend, sandbox.now()
    lasting = SETTINGS.model_copy(update={"sync_time_min": timedelta(days=1), "sync_time_max": timedelta(days=1)})
    backend.change_settings(lasting, now)
    truth = next(truth for truth in backend.truth(now) if truth.can_become_fresh)
    backend.queue(truth.company.id, truth.data_type, now, truth.connection.id, RequestedBy.PORTAL)
    backend.change_settings(SETTINGS, now)


def ask_for_fresh_data(deployed: Deployed, feed: Feed) -> None:
    """Let a request for fresh data of a feed be open, which the read in flight satisfies if there is one."""
    now = deployed.clock()
    not_before = (feed.in_flight.at if feed.in_flight else now) - timedelta(seconds=1)
    deadline = now + timedelta(hours=1)
    wanted = Wanted(not_before=not_before, deadline=deadline)
    deployed.tables.feeds.update(feed, lambda known: replace(known, wanted=wanted))
    request = FreshnessRequest(
        request_id=uuid4().hex,
        company_id=feed.company_id,
        data_types=(feed.data_type,),
        not_before=not_before,
        deadline=deadline,
        accepted_at=now,
    )
    deployed.tables.requests.put(request)
    # Tasks wait for two others: one ended and is not published yet, and one is for what nothing supplies.
    ended, failing = (replace(request, request_id=uuid4().hex, task_token=uuid4().hex) for _ in range(2))
    deployed.tables.requests.put(replace(ended, ended_at=now))
    deployed.tables.requests.put(replace(failing, data_types=("nothing",)))


def record_those_in_flight(deployed: Deployed) -> None:
    """Let there be records of the datasets in flight, so that what is found of their ends is merged with them."""
    for feed in deployed.tables.feeds.scan():
        if feed.in_flight and feed.in_flight.dataset_id:
            record_end(deployed, feed.company_id, feed.data_type, feed.connection_id, feed.in_flight.dataset_id)


def record_end(deployed: Deployed, company_id: str, data_type: str, connection_id: str, dataset_id: str) -> None:
    """Let there be a record of a dataset, which ended at a time that is later than all others."""
    later = deployed.clock() + timedelta(days=100)
    dataset = Dataset(
        company_id=company_id,
        dataset_id=dataset_id,
        data_type=data_type,
        connection_id=connection_id,
        trigger=Trigger.EXTERNAL,
        requested_at=later,
        ended_at=later,
        state=DatasetState.COMPLETE,
    )
    deployed.tables.datasets.end([dataset])


def complete_at_once(deployed: Deployed, feed: Feed) -> None:
    """Let Codat respond to a request of a feed that it is complete already."""
    now = deployed.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    names = {"companyId": feed.company_id, "connectionId": feed.connection_id, "dataType": feed.data_type}
    times, dataset_id = {"requested": now, "completed": now, "progress": 100}, str(uuid4())
    record_end(deployed, *feed.key, dataset_id)
    body = json.dumps(
        {"id": dataset_id, "status": "Complete", "isCompleted": True, "isErrored": False, **names, **times}
    )
    deployed.stub("POST", f"/companies/{feed.company_id}/data/queue/{feed.data_type}", body=body, times=1)


def set_paused_and_deleted(deployed: Deployed) -> None:
    """Let feeds be due of a company that was paused, and of one that was deleted."""
    company, _ = deployed.linked()
    paused, deleted, *_ = (each for each in deployed.tables.companies.scan() if each != company)
    deployed.tables.companies.put(replace(paused, pause=Pause()))
    deployed.tables.companies.put(replace(deleted, deleted_at=deployed.clock()))
    services._kept_keys.cache_clear()


def ensure_fresh(company: Company, feed: Feed, prefer: str = "") -> dict[str, object]:
    """Ask the API for fresh data of a feed, for which a task waits, and return the response."""
    body = {"dataTypes": [feed.data_type], "maxAge": "PT10M", "within": "PT10M", "taskToken": uuid4().hex}
    path = Route.ENSURE_FRESH.path(company.company_id)
    event = api_event("POST", path, body=body, headers={"Prefer": prefer})
    response: dict[str, object] = serve_api.handler(event, context(timedelta(seconds=29)))
    return response


def read_last_week(feed: Feed) -> Feed:
    """Return a feed as it is when it was read eight days ago, and is due."""
    at = datetime.now(UTC) - timedelta(days=8)
    new = Feed(company_id=feed.company_id, data_type=feed.data_type, connection_id=feed.connection_id)
    read = new.requested(Request(at=at, trigger=Trigger.PROMISE, dataset_id="earlier"))
    ended = read.ended(End(at=at + timedelta(seconds=1), state=DatasetState.COMPLETE), records_modified=True)
    return replace(ended, due_at=datetime.now(UTC) - timedelta(days=1))


def unused(deployed: Deployed, function: str) -> set[Permission]:
    """Return what the role of a function allows it and no test needed so far."""
    used = {permission for of, permission in deployed.roles.used if of == function}
    return {permission for permission in allowed(function) if not permission[0].startswith(BY_LAMBDA)} - used


def test_every_function_that_has_a_role_is_tested_here() -> None:
    roles = template().properties("AWS::IAM::Role").keys()
    assert {f"{function}Role" for function in (*FUNCTIONS, "ServeApi", "ShowPage", "ActOnPage")} == roles - {
        "SchedulesRole"
    }


def test_every_permission_of_the_roles_of_ticks_and_webhooks_is_used(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    do_everything(deployed, monkeypatch)
    assert {function: unused(deployed, function) for function in FUNCTIONS} == {
        function: set() for function in FUNCTIONS
    }


def test_every_permission_of_the_role_of_the_api_is_used(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed.check()
    company, connection_id = deployed.linked()
    feeds = deployed.tables.feeds.of_company(company.company_id)
    late, gone = [feed for feed in feeds if feed.connection_id == connection_id and not feed.is_unsupported][:2]
    for feed in (late, gone):
        deployed.tables.feeds.update(feed, read_last_week)
    deployed.queue(timedelta(seconds=20))  # There is only time to see that promises are broken.
    services._kept_keys.cache_clear()

    complete_at_once(deployed, late)
    # The read that ends lets the promise be kept again.
    assert ensure_fresh(company, late, "wait=20")["statusCode"] == 200
    ask_for_fresh_data(deployed, late)
    for request in deployed.tables.requests.open_of_company(company.company_id):
        path = Route.GET_REQUEST.path(company.company_id, request.request_id)
        serve_api.handler(api_event("GET", path), context(timedelta(seconds=29)))
    # Codat does not know the company. Whether it was deleted, a check is to find out.
    deployed.stub("POST", status=404)
    ensure_fresh(company, gone)
    # Meanwhile, a check has found out. Who read the company before, and learns of it now, deletes its feeds.
    [known] = [each for each in deployed.tables.companies.scan() if each.company_id == company.company_id]
    deployed.tables.companies.put(replace(known, deleted_at=deployed.clock()))
    account = deployed.tables.control.account()
    monkeypatch.setattr(deployed.tables.companies, "get_with_account", lambda *_: (company, account))
    read = deployed.tables.companies.get
    monkeypatch.setattr(
        deployed.tables.companies, "get", lambda key, *, consistent=False: read(key) if consistent else company
    )
    deployed.tables.feeds.update(deployed.tables.feeds.get(*gone.key), read_last_week)
    ensure_fresh(company, gone)

    assert not deployed.tables.feeds.of_company(company.company_id)
    assert unused(deployed, "ServeApi") == set()


@pytest.mark.parametrize(
    "denied",
    [
        ("dynamodb:Query", "TablesCompanies/index/due_for_check"),
        ("dynamodb:PutItem", "TablesControl"),
        ("ssm:GetParameter", parameter("codat-api-key")),
    ],
)
def test_a_call_that_the_role_does_not_allow_fails(deployed: Deployed, denied: Permission) -> None:
    deployed.roles.denied.add(("CheckFreshness", denied))
    with contextlib.suppress(ClientError, ExceptionGroup):
        deployed.check()
    assert deployed.roles.refused == {("CheckFreshness", denied)}


def test_another_functions_role_does_not_allow_a_call(deployed: Deployed) -> None:
    with deployed.roles.assumed("ReceiveWebhook"), pytest.raises(ClientError, match="may not"):
        deployed.tables.control.paused()
    deployed.roles.refused.clear()
