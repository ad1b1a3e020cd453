"""Lambda function behind the HTTP API: verify Codat's webhooks, and queue them for processing.

The queue's own metrics count the accepted webhooks. Only failures are logged and counted here.
"""

import os
import re
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from freshness.aws.clients import client
from freshness.aws.metrics import Metric, emit
from freshness.codat.webhooks.signature import (
    CachedSecrets,
    RefusalReason,
    SecretsUnavailable,
    SigningSecrets,
    WebhookRefused,
    decode_body,
)

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = Logger(service="receive_webhook")

_INVALID_IN_SQS = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:  # noqa: ARG001 - Lambda passes both
    """Handle one request: return 202 if it was queued, 401 if Codat did not sign it, 503 if Codat should retry it."""
    given_headers = event.get("headers")
    headers = given_headers if isinstance(given_headers, dict) else {}
    try:
        _require_allowed_sender(event, headers)
        body = decode_body(event)
        message_id = _signing_secrets().verify(body, headers)
        _queue(message_id, body)
    except WebhookRefused as refused:
        # These are the metrics `Metric.WEBHOOKS_REFUSED_…`, one for each reason.
        emit({Metric(f"WebhooksRefused{refused.reason}"): 1})
        logger.warning("A webhook was refused", extra={"reason": refused.reason})
        return {"statusCode": 401}
    except (SecretsUnavailable, ClientError, BotoCoreError) as error:
        logger.error("A webhook could not be queued: Codat will send it again", extra={"error": str(error)})
        return {"statusCode": 503}
    return {"statusCode": 202}


def _require_allowed_sender(event: dict[str, Any], headers: dict[str, Any]) -> None:
    """Check the source address and the header of a request, each only if the deployment restricts it.

    Raises:
        WebhookRefused: the address is not allowed, or the header is missing or has a wrong value.
    """
    addresses = os.environ.get("WEBHOOK_ADDRESSES", "").split()
    if addresses and _source_address(event) not in addresses:
        raise WebhookRefused(RefusalReason.ADDRESS_NOT_ALLOWED)
    header = os.environ.get("WEBHOOK_HEADER", "").lower()
    if header and not _header_values().contains(str(headers.get(header, ""))):
        raise WebhookRefused(RefusalReason.HEADER_WRONG)


def _source_address(event: dict[str, Any]) -> str | None:
    """Return the IP address of the sender, or `None` if the event has none."""
    try:
        return str(event["requestContext"]["http"]["sourceIp"])
    except (KeyError, TypeError):
        return None


def _queue(message_id: str, body: str) -> None:
    """Send a message to the queue. Characters that are valid in JSON but not in SQS are replaced by JSON escapes."""
    _sqs().send_message(
        QueueUrl=os.environ["WEBHOOK_QUEUE_URL"],
        MessageBody=_INVALID_IN_SQS.sub(lambda character: f"\\u{ord(character[0]):04x}", body),
        MessageAttributes={"webhook-id": {"DataType": "String", "StringValue": message_id}},
    )


@cache
def _sqs() -> "SQSClient":
    return client("sqs")


@cache
def _signing_secrets() -> SigningSecrets:
    return SigningSecrets(_secret_reader(os.environ["WEBHOOK_SIGNING_SECRET"]), clock=time.monotonic)


@cache
def _header_values() -> CachedSecrets:
    return CachedSecrets(_secret_reader(os.environ["WEBHOOK_HEADER_SECRET"]), clock=time.monotonic)


def _secret_reader(name: str) -> Callable[[], str]:
    """Return a function that reads a secret from Systems Manager, or raises `SecretsUnavailable`."""
    systems_manager = client("ssm")

    def read() -> str:
        try:
            return systems_manager.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        except (ClientError, BotoCoreError) as error:
            raise SecretsUnavailable(f"cannot read the secret {name}: {error}") from error

    return read
