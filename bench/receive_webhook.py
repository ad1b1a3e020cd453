"""What receive_webhook does, warm, beside what it cannot do without: verifying the signature."""

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

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of no one
ROUNDS = 20
CALLS = 200
MICROSECONDS = 1e6


class _Answers:
    """The clients of AWS, answering at once: what is left is the handler's own work."""

    def get_secret_value(self, **_: object) -> dict[str, str]:
        return {"SecretString": SECRET}

    def send_message(self, **_: object) -> dict[str, str]:
        return {}


_ENVIRONMENT = {
    "WEBHOOK_SIGNING_SECRET": "secret",
    "WEBHOOK_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/queue",
}


def measure() -> list[Figure]:
    """The handler without its clients, and with boto3's but nothing behind it, against verifying alone."""
    os.environ.update(_ENVIRONMENT)
    event = _event()
    webhook = Webhook(SECRET)
    alone, with_boto3, verify = _microseconds(
        _handling(event, lambda _: _Answers()),
        _handling(event, _client_without_network),
        lambda: webhook.verify(event["body"], event["headers"], json_parse=False),
    )
    against = "standardwebhooks' verify alone"
    return [
        Figure(
            what="receive_webhook, warm, without its clients of AWS",
            value=alone,
            unit="us",
            against=against,
            floor=verify,
            at_most=3,
        ),
        Figure(
            what="the same with boto3 making the request to SQS, which no one receives",
            value=with_boto3,
            unit="us",
            against=against,
            floor=verify,
        ),
    ]


def _event() -> dict[str, Any]:
    """A request as API Gateway hands it over."""
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
        return _Answers()
    client = boto3.Session("test", "test", region_name=local_aws.REGION).client("sqs")
    answer: Any = _answer
    client.meta.events.register("before-send", answer)
    return client


def _answer(request: Any, **_: object) -> AWSResponse:
    class Raw:
        def stream(self) -> list[bytes]:
            return [b'{"MessageId": "1"}']

    return AWSResponse(request.url, 200, HTTPHeaders(), Raw())


def _handling(event: dict[str, Any], client: Callable[[str], object]) -> Callable[[], object]:
    """A call of a handler of its own, warm, which has the clients that `client` makes."""
    sys.modules.pop("receive_webhook", None)
    handler = import_module("receive_webhook").handler
    with patch("boto3.client", client):
        if handler(event, None) != {"statusCode": 202}:
            raise RuntimeError("expected receive_webhook to accept a message that was signed with its secret")
    return lambda: handler(event, None)


def _microseconds(*calls: Callable[[], object]) -> list[float]:
    """How long each takes of the processor's time: the median of the means of several rounds, by turns."""
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
