"""Behind the HTTP API: takes in Codat's webhooks, and answers before anything is done about them.

What is accepted is counted by the queue, so that only what goes wrong is logged and counted here.
"""

import os
import re
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from freshness.aws.metrics import NAMESPACE, Metric
from freshness.codat.webhook_signature import KeptSecrets, Reason, Refused, SecretsUnavailable, SigningSecrets, body_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = Logger(service="receive_webhook")
metrics = Metrics(namespace=NAMESPACE, service="receive_webhook")

_REFUSED_BY_SQS = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:  # noqa: ARG001 - Lambda passes both
    """Answer one request: 401 unless Codat signed it, 202 once it is on the queue, 503 if Codat is to try again."""
    given = event.get("headers")
    headers = given if isinstance(given, dict) else {}
    try:
        _require_allowed_sender(event, headers)
        body = body_of(event)
        message_id = _signing_secrets().verify(body, headers)
        _queue(message_id, body)
    except Refused as refused:
        _count(Metric.WEBHOOKS_REFUSED, Metric(f"WebhooksRefused{refused.reason}"))
        logger.warning("A webhook was refused", extra={"reason": refused.reason})
        return {"statusCode": 401}
    except (SecretsUnavailable, ClientError, BotoCoreError) as error:
        _count(Metric.WEBHOOKS_PUT_OFF)
        logger.error("A webhook could not be taken in: Codat will send it again", extra={"error": str(error)})
        return {"statusCode": 503}
    return {"statusCode": 202}


def _require_allowed_sender(event: dict[str, Any], headers: dict[str, Any]) -> None:
    """Refuse what does not come from the addresses, or with the header, that the deployment asks for, if it does."""
    addresses = os.environ.get("WEBHOOK_ADDRESSES", "").split()
    if addresses and _source_address(event) not in addresses:
        raise Refused(Reason.ADDRESS_NOT_ALLOWED)
    header = os.environ.get("WEBHOOK_HEADER", "").lower()
    if header and not _header_values().have(str(headers.get(header, ""))):
        raise Refused(Reason.HEADER_WRONG)


def _source_address(event: dict[str, Any]) -> str | None:
    try:
        return str(event["requestContext"]["http"]["sourceIp"])
    except (KeyError, TypeError):
        return None


def _queue(message_id: str, body: str) -> None:
    """Send a message on. Characters that JSON may hold and SQS refuses are written as JSON's escapes of them."""
    _sqs().send_message(
        QueueUrl=os.environ["WEBHOOK_QUEUE_URL"],
        MessageBody=_REFUSED_BY_SQS.sub(lambda character: f"\\u{ord(character[0]):04x}", body),
        MessageAttributes={"webhook-id": {"DataType": "String", "StringValue": message_id}},
    )


def _count(*names: Metric) -> None:
    for name in names:
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
    metrics.flush_metrics()


@cache
def _sqs() -> "SQSClient":
    return boto3.client("sqs")


@cache
def _signing_secrets() -> SigningSecrets:
    return SigningSecrets(_reading(os.environ["WEBHOOK_SIGNING_SECRET"]), clock=time.monotonic)


@cache
def _header_values() -> KeptSecrets:
    return KeptSecrets(_reading(os.environ["WEBHOOK_HEADER_SECRET"]), clock=time.monotonic)


def _reading(name: str) -> Callable[[], str]:
    secrets_manager = boto3.client("secretsmanager")

    def read() -> str:
        try:
            return secrets_manager.get_secret_value(SecretId=name)["SecretString"]
        except (ClientError, BotoCoreError) as error:
            raise SecretsUnavailable(f"the secret {name} cannot be read: {error}") from error

    return read
