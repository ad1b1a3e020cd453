"""Behind the HTTP API: takes in Codat's webhooks, and answers before anything is done about them."""

import base64
import binascii
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.metrics import NAMESPACE, Metric
from freshness.signature import Forged, verify

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = Logger(service="receive_webhook")
metrics = Metrics(namespace=NAMESPACE, service="receive_webhook")


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:  # noqa: ARG001 - Lambda passes both
    """Answer one request: 401 unless Codat signed it, else 202 once it is on the queue."""
    try:
        body = _body(event)
        message_id = verify(body, event["headers"], _signing_secret())
    except (Forged, binascii.Error) as error:
        metrics.add_metric(name=Metric.WEBHOOKS_REFUSED, unit=MetricUnit.Count, value=1)
        logger.warning("A webhook was refused", extra={"reason": str(error)})
        return {"statusCode": 401}
    _sqs().send_message(
        QueueUrl=os.environ["WEBHOOK_QUEUE_URL"],
        MessageBody=body.decode(),
        MessageAttributes={"webhook-id": {"DataType": "String", "StringValue": message_id}},
    )
    metrics.add_metric(name=Metric.WEBHOOKS_ACCEPTED, unit=MetricUnit.Count, value=1)
    return {"statusCode": 202}


def _body(event: dict[str, Any]) -> bytes:
    body: str = event.get("body") or ""
    return base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()


def _signing_secret() -> str:
    return parameters.get_secret(os.environ["WEBHOOK_SIGNING_SECRET"], max_age=300).strip()


@cache
def _sqs() -> "SQSClient":
    return boto3.client("sqs")
