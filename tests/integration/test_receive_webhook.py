"""Receiving of webhooks, with a real queue and a real secret."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

import receive_webhook
from tests.integration.deployed import signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def request(body: str, *, base64_encoded: bool = False, secret: str = SECRET) -> dict[str, Any]:
    """Return a signed request of Codat's in the format of an API Gateway event."""
    sent = base64.b64encode(body.encode()).decode() if base64_encoded else body
    return signed(body, secret, "msg_1") | {"body": sent, "isBase64Encoded": base64_encoded}


@pytest.fixture
def queue(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """Create a queue and a secret for the handler, and yield a function that returns the queued ids and bodies."""
    sqs, name = boto3.client("sqs"), uuid4().hex
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    boto3.client("ssm").put_parameter(Name=name, Value=f"whsec_b3RoZXI=\n{SECRET}\n", Type="SecureString")
    monkeypatch.setenv("WEBHOOK_QUEUE_URL", url)
    monkeypatch.setenv("WEBHOOK_SIGNING_SECRET", name)

    def queued() -> list[tuple[str, str]]:
        messages = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages", [])
        return [(message["MessageAttributes"]["webhook-id"]["StringValue"], message["Body"]) for message in messages]

    for cached in (receive_webhook._sqs, receive_webhook._signing_secrets, receive_webhook._header_values):
        cached.cache_clear()
    yield queued
    for cached in (receive_webhook._sqs, receive_webhook._signing_secrets, receive_webhook._header_values):
        cached.cache_clear()


def status(event: dict[str, Any]) -> int:
    return receive_webhook.handler(event, LambdaContext())["statusCode"]


@pytest.mark.parametrize("base64_encoded", [False, True])
def test_a_signed_webhook_is_queued_with_its_id(
    queue: Callable[[], list[tuple[str, str]]], base64_encoded: bool
) -> None:
    body = '{"name": "Ærø"}'

    assert status(request(body, base64_encoded=base64_encoded)) == 202
    assert queue() == [("msg_1", body)]


def test_characters_that_are_invalid_in_sqs_are_escaped(queue: Callable[[], list[tuple[str, str]]]) -> None:
    body = '{"name": "a\ufffe\uffffb😀"}'

    assert status(request(body)) == 202
    [(_, queued)] = queue()
    assert json.loads(queued) == json.loads(body)
    assert "\\ufffe\\uffff" in queued


def test_a_forged_webhook_is_not_queued(queue: Callable[[], list[tuple[str, str]]]) -> None:
    assert status(request("{}", secret="whsec_Zm9yZ2Vk")) == 401
    assert queue() == []


def test_503_is_returned_if_the_queue_is_unavailable(
    queue: Callable[[], list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_QUEUE_URL", boto3.client("sqs").meta.endpoint_url + "/000000000000/no-such-queue")

    assert status(request("{}")) == 503


def test_503_is_returned_if_the_secret_cannot_be_read(
    queue: Callable[[], list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SIGNING_SECRET", "no-such-secret")

    assert status(request("{}")) == 503
    assert queue() == []


def test_only_allowed_addresses_are_accepted_if_any_are_configured(
    queue: Callable[[], list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_ADDRESSES", "4.159.114.108 20.117.190.191")
    allowed = {"requestContext": {"http": {"sourceIp": "20.117.190.191"}}}
    other = {"requestContext": {"http": {"sourceIp": "20.117.190.19"}}}

    assert status(request("{}") | allowed) == 202
    assert status(request("{}") | other) == 401
    assert status(request("{}")) == 401
    assert len(queue()) == 1


def test_only_requests_with_the_header_are_accepted_if_one_is_configured(
    queue: Callable[[], list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = uuid4().hex
    boto3.client("ssm").put_parameter(Name=name, Value="old-value new-value", Type="SecureString")
    monkeypatch.setenv("WEBHOOK_HEADER", "X-Our-Key")
    monkeypatch.setenv("WEBHOOK_HEADER_SECRET", name)

    def with_header(value: str) -> dict[str, Any]:
        event = request("{}")
        return event | {"headers": event["headers"] | {"x-our-key": value}}

    assert [status(with_header(value)) for value in ("old-value", "new-value")] == [202, 202]
    assert [status(with_header(value)) for value in ("", "new-valu", "\ud800")] == [401, 401, 401]
    assert status(request("{}")) == 401
