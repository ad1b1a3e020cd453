"""Reads Codat's webhooks from the queue, and applies them to the tables."""

import os

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.base import FailureResponse, SuccessResponse
from aws_lambda_powertools.utilities.batch.exceptions import ExceptionInfo
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.apply_webhook import Webhook
from freshness.app.webhook_heartbeat import Silence
from freshness.aws import bootstrap
from freshness.aws.metrics import NAMESPACE, Metric, count
from freshness.codat.webhook_parser import Malformed

logger = Logger(service="apply_webhook")
metrics = Metrics(namespace=NAMESPACE, service="apply_webhook")


class Processor(BatchProcessor):
    """Lets what failed go back to the queue alone; lays to rest what failed for good, or as often as it may."""

    def failure_handler(self, record: SQSRecord, exception: ExceptionInfo) -> SuccessResponse | FailureResponse:
        """Called with whatever was raised while a message was applied."""
        error, is_final = exception[1], isinstance(exception[1], Malformed)
        reason = str(error) if is_final else f"{type(error).__name__}: {error}"
        told = {"message_id": _message_id(record), "reason": reason}
        # What a malformed message holds is not for the log.
        logger.warning("A webhook could not be applied", exc_info=None if is_final else error, extra=told)
        if is_final or int(record.attributes.approximate_receive_count) >= int(os.environ["MAX_RECEIVE_COUNT"]):
            try:
                _give_up(record, reason)
            except (ClientError, BotoCoreError):
                logger.exception("A webhook could not be laid to rest: SQS does so without the reason", extra=told)
            else:
                return self.success_handler(record, None)
        return super().failure_handler(record, exception)


processor = Processor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
_silence = Silence()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> PartialItemFailureResponse:
    """Apply a batch of messages. One that fails goes back to the queue alone, in the end to the dead-letter queue."""
    webhook = Webhook(
        store=bootstrap.store(), bus=bootstrap.bus(), policy=bootstrap.informed_policy(), clock=bootstrap.clock
    )

    def apply(record: SQSRecord) -> None:
        webhook.apply(_message_id(record), record.body)

    response = process_partial_response(event=event, record_handler=apply, processor=processor, context=context)
    count(metrics, webhook.tally)
    try:
        _silence.broken(bootstrap.store(), bootstrap.clock())
    except (ClientError, BotoCoreError):
        logger.exception("That webhooks come could not be noted: the next batch does")
    return response


def _message_id(record: SQSRecord) -> str:
    attribute = record.message_attributes["webhook-id"]
    return attribute.string_value if attribute and attribute.string_value else record.message_id


def _give_up(record: SQSRecord, reason: str) -> None:
    """Lay a message in the dead-letter queue with the reason, where SQS itself would lay it without."""
    bootstrap.sqs().send_message(
        QueueUrl=os.environ["WEBHOOK_DEAD_LETTER_QUEUE_URL"],
        MessageBody=record.body,
        MessageAttributes={
            "webhook-id": {"DataType": "String", "StringValue": _message_id(record)},
            # SQS takes no control characters, of which an error may hold any.
            "reason": {"DataType": "String", "StringValue": ascii(reason)[1:-1][:1000]},
        },
    )
    count(metrics, {Metric.WEBHOOKS_GIVEN_UP: 1})
