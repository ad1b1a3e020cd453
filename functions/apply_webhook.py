"""Reads Codat's webhooks from the queue, and applies them to the tables."""

import os
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.apply_webhook import WebhookApplier
from freshness.app.ensure.finish import Finisher
from freshness.app.services import Services
from freshness.app.webhook_heartbeat import WebhookHeartbeat
from freshness.aws.metrics import emit
from freshness.codat.webhook_parser import Malformed

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

Message = dict[str, Any]
"""A message as SQS hands it to the function."""

logger = Logger(service="apply_webhook")
_heartbeat = WebhookHeartbeat()


@logger.inject_lambda_context
def handler(event: dict[str, list[Message]], context: LambdaContext) -> dict[str, list[dict[str, str]]]:  # noqa: ARG001
    """Apply a batch of messages. One that fails returns to the queue, in the end to the dead-letter queue."""
    services = Services.deployed()
    recorder = services.recorder
    applier = WebhookApplier(tables=services.tables, recorder=recorder, clock=services.clock)
    returned = [message["messageId"] for message in event["Records"] if not _settle(message, applier)]
    if recorder.satisfied:
        Finisher(services=services).finish_of_companies(recorder.satisfied)
    recorder.write_collected()
    tally = applier.tally + recorder.tally
    emit(tally)
    logger.info("Batch of webhooks ended", extra={"tally": dict(tally)})
    try:
        _heartbeat.beat(services.tables.control, services.clock())
    except (ClientError, BotoCoreError):
        logger.exception("The webhook heartbeat could not be written; the next batch writes it")
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in returned]}


def _settle(message: Message, applier: WebhookApplier) -> bool:
    """Apply a message, or move it to the dead-letter queue. Return whether either was done, so that SQS deletes it."""
    try:
        applier.apply(message["body"], _received_at(message))
    except Malformed as error:
        # The content of a malformed message does not belong in the log.
        context = {"message_id": _webhook_id(message), "reason": str(error)}
        logger.warning("A webhook could not be applied", extra=context)
        return _move_to_dead_letters(message, str(error))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        context = {"message_id": _webhook_id(message), "reason": reason}
        logger.warning("A webhook could not be applied", exc_info=error, extra=context)
        is_last = int(message["attributes"]["ApproximateReceiveCount"]) >= int(os.environ["MAX_RECEIVE_COUNT"])
        return is_last and _move_to_dead_letters(message, reason)
    return True


def _move_to_dead_letters(message: Message, reason: str) -> bool:
    """Send a message to the dead-letter queue with the reason, which SQS would leave out. Return whether that was done.

    If it is not, SQS moves it after the last attempt.
    """
    attributes = {
        "webhook-id": _webhook_id(message),
        # SQS accepts no control characters, of which an error may contain any.
        "reason": ascii(reason)[1:-1][:1000],
    }
    try:
        _sqs().send_message(
            QueueUrl=os.environ["WEBHOOK_DEAD_LETTER_QUEUE_URL"],
            MessageBody=message["body"],
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )
    except (ClientError, BotoCoreError):
        logger.exception("A webhook could not be moved to the dead-letter queue: SQS moves it", extra=attributes)
        return False
    return True


@cache
def _sqs() -> "SQSClient":
    return boto3.client("sqs")


def _received_at(message: Message) -> datetime | None:
    """Return when SQS received a message: the same time at each delivery. `None` if that is missing."""
    sent = message.get("attributes", {}).get("SentTimestamp")
    return datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else None


def _webhook_id(message: Message) -> str:
    attribute = message["messageAttributes"].get("webhook-id", {})
    return str(attribute.get("stringValue") or message["messageId"])
