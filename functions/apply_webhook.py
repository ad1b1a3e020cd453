"""Reads Codat's webhooks from the queue, and applies them to the tables."""

import os

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from freshness import wiring
from freshness.metrics import NAMESPACE, Metric, count
from freshness.publish import NotPublished
from freshness.silence import Silence
from freshness.store import ContentionError
from freshness.webhook import Webhook

logger = Logger(service="apply_webhook")
metrics = Metrics(namespace=NAMESPACE, service="apply_webhook")
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
_silence = Silence()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> PartialItemFailureResponse:
    """Apply a batch of messages. One that fails goes back to the queue alone, in the end to the dead-letter queue."""
    webhook = Webhook(store=wiring.store(), bus=wiring.bus(), policy=wiring.informed_policy(), clock=wiring.clock)

    def apply(record: SQSRecord) -> None:
        try:
            webhook.apply(_message_id(record), record.body)
        except ValidationError as error:
            mistake = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in mistake["loc"])
            _give_up(record, f"It is not as Codat describes its webhooks: {mistake['msg']} at {where or 'the top'}")
            webhook.tally[Metric.WEBHOOKS_GIVEN_UP] += 1
        except (NotPublished, ContentionError, ClientError, BotoCoreError) as error:
            if int(record.attributes.approximate_receive_count) < int(os.environ["MAX_RECEIVE_COUNT"]):
                raise
            _give_up(record, f"{type(error).__name__}: {error}")
            webhook.tally[Metric.WEBHOOKS_GIVEN_UP] += 1

    response = process_partial_response(event=event, record_handler=apply, processor=processor, context=context)
    _silence.broken(wiring.store(), wiring.clock())
    count(metrics, webhook.tally)
    return response


def _message_id(record: SQSRecord) -> str:
    attribute = record.message_attributes["webhook-id"]
    return attribute.string_value if attribute and attribute.string_value else record.message_id


def _give_up(record: SQSRecord, reason: str) -> None:
    """Lay a message in the dead-letter queue with the reason, where SQS itself would lay it without."""
    logger.error("A webhook could not be applied", extra={"message_id": _message_id(record), "reason": reason})
    wiring.sqs().send_message(
        QueueUrl=os.environ["WEBHOOK_DEAD_LETTER_QUEUE_URL"],
        MessageBody=record.body,
        MessageAttributes={
            "webhook-id": {"DataType": "String", "StringValue": _message_id(record)},
            # SQS takes no control characters, of which an error may hold any.
            "reason": {"DataType": "String", "StringValue": ascii(reason)[1:-1][:1000]},
        },
    )
