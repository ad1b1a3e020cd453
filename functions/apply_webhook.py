"""Reads Codat's webhooks from the queue, and applies them to the tables."""

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.services import Services
from freshness.app.webhook_heartbeat import WebhookHeartbeat
from freshness.app.webhooks import Message, apply_batch, reason_of
from freshness.aws.clients import client
from freshness.aws.dead_letters import DeadLetters

TIME_TO_FINISH = timedelta(seconds=5)
"""The function applies no more webhooks this long before its timeout, so that it can write its counts."""

logger = Logger(service="apply_webhook")
_heartbeat = WebhookHeartbeat()


@logger.inject_lambda_context
def handler(event: dict[str, list[dict[str, Any]]], context: LambdaContext) -> dict[str, list[dict[str, str]]]:
    """Apply a batch of messages. One that fails returns to the queue, and in the end goes to the dead-letter queue."""
    services = Services.deployed()
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    returned = apply_batch(
        services,
        map(_message, event["Records"]),
        until=services.clock() + remaining - TIME_TO_FINISH,
        most_deliveries=int(os.environ["MAX_RECEIVE_COUNT"]),
        move_to_dead_letters=_move_to_dead_letters,
    )
    try:
        _heartbeat.beat(services.tables.control, services.clock())
    except (ClientError, BotoCoreError):
        logger.exception("The webhook heartbeat could not be written; the next batch writes it")
    return {"batchItemFailures": [{"itemIdentifier": message.id} for message in returned]}


def _message(record: dict[str, Any]) -> Message:
    attributes, webhook_id = record["attributes"], record["messageAttributes"].get("webhook-id", {})
    sent_at = attributes.get("SentTimestamp")
    return Message(
        id=record["messageId"],
        webhook_id=str(webhook_id.get("stringValue") or record["messageId"]),
        body=record["body"],
        received_at=datetime.fromtimestamp(int(sent_at) / 1000, UTC) if sent_at else None,
        deliveries=int(attributes["ApproximateReceiveCount"]),
    )


def _move_to_dead_letters(message: Message, error: Exception) -> bool:
    return _dead_letters().put(message.body, message.webhook_id, reason_of(error))


@cache
def _dead_letters() -> DeadLetters:
    return DeadLetters(client("sqs"), os.environ["WEBHOOK_DEAD_LETTER_QUEUE_URL"])
