"""The duration of receive_webhook after its cold start, compared with the verification of the signature alone."""

import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from unittest.mock import patch

import boto3
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from standardwebhooks import Webhook

from bench import fleet
from bench.figures import Figure, show
from local import local_aws

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - used nowhere
ROUNDS = 20
CALLS = 200
MICROSECONDS = 1e6


class _Client:
    """Clients of AWS that respond immediately, so that only the handler's own work is measured."""

    def get_parameter(self, **_: object) -> dict[str, dict[str, str]]:
        return {"Parameter": {"Value": SECRET}}

    def send_message(self, **_: object) -> dict[str, str]:
        return {}


_ENVIRONMENT = {
    "WEBHOOK_SIGNING_SECRET": "secret",
    "WEBHOOK_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/queue",
}


def measure() -> list[Figure]:
    """Measure the handler with and without boto3, in both cases without a network."""
    os.environ.update(_ENVIRONMENT)
    event = _event()
    webhook = Webhook(SECRET)
    alone, with_boto3, verify = _microseconds(
        _warm_handler(event, lambda _: _Client()),
        _warm_handler(event, _client_without_network),
        lambda: webhook.verify(event["body"], event["headers"], json_parse=False),
    )
    against = "standardwebhooks' verify alone"
    return [
        Figure(
            what="receive_webhook, warm, without boto3",
            value=alone,
            unit="us",
            against=against,
            floor=verify,
            at_most=3,
        ),
        Figure(
            what="receive_webhook, warm, with boto3, without a network",
            value=with_boto3,
            unit="us",
            against=against,
            floor=verify,
        ),
    ]


def _event() -> dict[str, Any]:
    """Return a request as API Gateway passes it on."""
    body = fleet.read_completed(fleet.company(0), "invoices", datetime.now(UTC))
    signed_at = datetime.now(UTC)
    return {
        "headers": {
            "content-type": "application/json",
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": str(int(signed_at.timestamp())),
            "webhook-signature": Webhook(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", signed_at, body),
        },
        "body": body,
        "isBase64Encoded": False,
    }


def _client_without_network(service: str) -> Any:
    if service != "sqs":
        return _Client()
    client = boto3.Session("test", "test", region_name=local_aws.REGION).client("sqs")
    respond: Any = _respond
    client.meta.events.register("before-send", respond)
    return client


def _respond(request: Any, **_: object) -> AWSResponse:
    class Raw:
        def stream(self) -> list[bytes]:
            return [b'{"MessageId": "1"}']

    return AWSResponse(request.url, 200, HTTPHeaders(), Raw())


def _warm_handler(event: dict[str, Any], client: Callable[[str], object]) -> Callable[[], object]:
    """Import the handler again, let it create its clients by `client`, and return a call of the handler."""
    sys.modules.pop("receive_webhook", None)
    handler = import_module("receive_webhook").handler
    with patch("boto3.client", client):
        if handler(event, None) != {"statusCode": 202}:
            raise RuntimeError("expected receive_webhook to accept a webhook that was signed with its secret")
    return lambda: handler(event, None)


def _microseconds(*calls: Callable[[], object]) -> list[float]:
    """Return the processor time of each call: the median over `ROUNDS` alternating rounds of the mean of `CALLS`."""
    rounds: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, means in zip(calls, rounds, strict=True):
            started = time.process_time()
            for _ in range(CALLS):
                call()
            means.append((time.process_time() - started) / CALLS * MICROSECONDS)
    return [statistics.median(means) for means in rounds]


if __name__ == "__main__":
    show("receive_webhook", measure())
