import json
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import Receiver, wait_until


def register(codat: httpx.Client, receiver: Receiver, event_types: list[str], *, host: str = "127.0.0.1") -> str:
    """Register `receiver` as a consumer, and return the id of the consumer."""
    url = f"http://{host}:{receiver.port}/webhooks"
    response = codat.post("/webhooks", json={"url": url, "eventTypes": event_types})
    return str(response.json()["id"])


def secret_of(codat: httpx.Client, consumer_id: str) -> str:
    return str(codat.get(f"/sandbox/webhooks/{consumer_id}/secrets").json()["secrets"][0])


def change_connection(codat: httpx.Client) -> None:
    """Link or deauthorize a connection, which causes one webhook."""
    feed = codat.get("/sandbox/state").json()["feeds"][0]
    status = "Linked" if feed["connectionStatus"] != "Linked" else "Deauthorized"
    codat.patch(f"/sandbox/companies/{feed['companyId']}/connections/{feed['connectionId']}", json={"status": status})


CHANGES = ["connection.disconnected", "connection.reconnected"]


def attempts(codat: httpx.Client) -> list[dict[str, Any]]:
    response: list[dict[str, Any]] = codat.get("/sandbox/webhooks/attempts").json()
    return response


def test_a_read_is_reported_by_a_signed_webhook(codat: httpx.Client, receiver: Receiver) -> None:
    consumer_id = register(codat, receiver, ["read.completed.initial"])
    company = codat.post("/sandbox/companies", json={"platforms": ["Plaid"]}).json()

    received = receiver.next()

    event = Webhook(secret_of(codat, consumer_id)).verify(received.body, dict(received.headers))
    assert event["eventType"] == "read.completed.initial"
    assert event["payload"]["referenceCompany"]["id"] == company["id"]
    assert {read["status"] for read in event["payload"]["dataTypes"]} == {"Complete"}
    assert {read["recordsModified"] for read in event["payload"]["dataTypes"]} == {False}


@pytest.mark.parametrize(
    "event_types",
    [
        ["read.completed"],
        ["read.completed.successful"],
        ["read.completed.initial", "read.completed.successful.initial"],
        ["read.completed.unsuccessful", "read.completed.initial"],
    ],
)
def test_a_read_is_sent_in_each_form_that_the_consumer_subscribes_to(
    codat: httpx.Client, receiver: Receiver, event_types: list[str]
) -> None:
    codat.patch("/sandbox/settings", json={"read_completed_within": 60})
    register(codat, receiver, [*event_types, "company.deleted"])
    company = codat.post("/sandbox/companies", json={"platforms": ["Plaid"]}).json()
    wait_until(lambda: not any(feed["isRunning"] for feed in codat.get("/sandbox/state").json()["feeds"]))
    codat.delete(f"/companies/{company['id']}")

    expected = sorted({*event_types, "company.deleted"} - {"read.completed.unsuccessful"})
    # Webhooks are delivered side by side: a later one may arrive first.
    received: list[dict[str, Any]] = [json.loads(receiver.next().body) for _ in expected]

    assert sorted(event["eventType"] for event in received) == expected
    assert receiver.received.empty()
    assert len({event["id"] for event in received}) == len(received)
    assert len({json.dumps(e["payload"]) for e in received if e["eventType"] != "company.deleted"}) == 1


def test_the_headers_can_have_svixs_prefix(codat: httpx.Client, receiver: Receiver) -> None:
    codat.patch("/sandbox/settings", json={"webhook_headers": "svix"})
    consumer_id = register(codat, receiver, CHANGES)
    change_connection(codat)

    received = receiver.next()

    assert "svix-id" in received.headers
    SvixWebhook(secret_of(codat, consumer_id)).verify(received.body, dict(received.headers))


def test_both_secrets_sign_during_a_rotation(codat: httpx.Client, receiver: Receiver) -> None:
    consumer_id = register(codat, receiver, CHANGES)
    secrets = codat.post(f"/sandbox/webhooks/{consumer_id}/rotate").json()["secrets"]
    change_connection(codat)

    received = receiver.next()

    assert len(set(secrets)) == 2
    for secret in secrets:
        Webhook(secret).verify(received.body, dict(received.headers))


def test_a_name_under_localhost_resolves_to_the_loopback_address(codat: httpx.Client, receiver: Receiver) -> None:
    register(codat, receiver, CHANGES, host="abc.execute-api.localhost")
    change_connection(codat)

    assert receiver.next().headers["Host"] == f"abc.execute-api.localhost:{receiver.port}"


def test_a_consumer_receives_the_event_types_and_tags_it_subscribes_to(codat: httpx.Client, receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.port}"
    feeds = codat.get("/sandbox/state").json()["feeds"]
    tags = codat.get(f"/companies/{feeds[0]['companyId']}").json()["tags"]
    for company_tags in (["region:nowhere"], [f"uid:{tags['uid']}"]):
        codat.post("/webhooks", json={"url": url, "eventTypes": CHANGES, "companyTags": company_tags})
    codat.post("/webhooks", json={"url": url, "eventTypes": ["company.created"]})
    codat.post("/webhooks", json={"url": url, "eventTypes": CHANGES, "disabled": True})

    change_connection(codat)
    change_connection(codat)

    events = [json.loads(receiver.next().body)["eventType"] for _ in range(2)]
    assert sorted(events) == CHANGES
    wait_until(lambda: len(attempts(codat)) == 2)
    assert receiver.received.empty()


def test_a_failed_delivery_is_retried_with_the_same_id(codat: httpx.Client, receiver: Receiver) -> None:
    codat.patch("/sandbox/settings", json={"webhook_time_scale": 1e-6})
    receiver.status = 500
    register(codat, receiver, CHANGES)
    change_connection(codat)

    wait_until(lambda: len(attempts(codat)) == 8)

    ids = {receiver.next().headers["webhook-id"] for _ in range(8)}
    assert len(ids) == 1
    assert {attempt["outcome"] for attempt in attempts(codat)} == {"500"}


def test_an_endpoint_whose_attempts_all_fail_is_disabled(codat: httpx.Client, receiver: Receiver) -> None:
    codat.patch("/sandbox/settings", json={"webhook_time_scale": 1e-7})
    receiver.status = 500
    consumer_id = register(codat, receiver, CHANGES)

    def is_disabled() -> bool:
        change_connection(codat)
        return bool(codat.get("/webhooks").json()["results"][0]["disabled"])

    wait_until(is_disabled)
    codat.patch(f"/sandbox/webhooks/{consumer_id}", json={"disabled": False})

    assert codat.get("/webhooks").json()["results"][0]["disabled"] is False


def test_webhooks_can_be_lost(codat: httpx.Client, receiver: Receiver) -> None:
    codat.patch("/sandbox/settings", json={"webhooks_lost": 1})
    register(codat, receiver, CHANGES)
    change_connection(codat)

    wait_until(lambda: [attempt["outcome"] for attempt in attempts(codat)] == ["lost"])

    assert receiver.received.empty()


def test_webhooks_can_be_sent_twice(codat: httpx.Client, receiver: Receiver) -> None:
    codat.patch("/sandbox/settings", json={"webhooks_doubled": 1})
    register(codat, receiver, CHANGES)
    change_connection(codat)

    first, second = receiver.next(), receiver.next()

    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_webhooks_can_be_late_and_arrive_in_another_order(codat: httpx.Client, receiver: Receiver) -> None:
    codat.patch("/sandbox/settings", json={"webhooks_late": 1, "webhooks_late_by": 0.5})
    register(codat, receiver, CHANGES)
    for _ in range(10):
        change_connection(codat)

    times = [json.loads(receiver.next().body)["generatedDate"] for _ in range(10)]

    assert times != sorted(times)


def test_a_failed_connection_is_recorded_as_an_attempt(codat: httpx.Client) -> None:
    codat.post("/webhooks", json={"url": "http://127.0.0.1:9/webhooks", "eventTypes": CHANGES})
    change_connection(codat)

    wait_until(lambda: len(attempts(codat)) == 1)

    assert attempts(codat)[0]["outcome"].startswith("ConnectError")


@pytest.mark.parametrize("given", ["whsec_c2FuZGJveC1zaWduaW5nLXNlY3JldA==", ""])
def test_the_signing_secret_is_the_given_one_or_derived_from_the_seed(settings: Settings, given: str) -> None:
    def secret(sandbox: RunningSandbox) -> str:
        return sandbox.do(lambda s: s.webhooks.add_consumer("http://127.0.0.1:9", [], [], disabled=False)).secrets[0]

    with running_sandbox(settings, signing_secret=given) as one, running_sandbox(settings, signing_secret=given) as two:
        secrets = {secret(one), secret(two)}

    assert len(secrets) == 1
    if given:
        assert secrets == {given}


def test_using_up_the_quota_is_reported_by_a_webhook(codat: httpx.Client, receiver: Receiver) -> None:
    consumer_id = register(codat, receiver, ["client.rateLimit.reached"])
    codat.patch("/sandbox/settings", json={"daily_quota": 0})

    refused = codat.get("/companies")

    received = receiver.next()
    event = Webhook(secret_of(codat, consumer_id)).verify(received.body, dict(received.headers))
    assert refused.status_code == 429
    assert event["payload"]["quotaRemaining"] == 0
