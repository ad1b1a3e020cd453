"""Reads Codat's webhooks from the queue, and applies them to the tables."""

import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.base import FailureResponse, SuccessResponse
from aws_lambda_powertools.utilities.batch.exceptions import ExceptionInfo
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.apply_webhook import WebhookApplier
from freshness.app.ending import Ending
from freshness.app.record import deployed_recorder
from freshness.app.webhook_heartbeat import WebhookHeartbeat
from freshness.aws import bootstrap
from freshness.aws.metrics import emit
from freshness.codat.webhook_parser import Malformed

logger = Logger(service="apply_webhook")


class Processor(BatchProcessor):
    """Returns a failed message to the queue by itself; moves one that cannot succeed to the dead-letter queue."""

    def failure_handler(self, record: SQSRecord, exception: ExceptionInfo) -> SuccessResponse | FailureResponse:
        """Handle what was raised while a message was applied."""
        error, is_final = exception[1], isinstance(exception[1], Malformed)
        reason = str(error) if is_final else f"{type(error).__name__}: {error}"
        context = {"message_id": _message_id(record), "reason": reason}
        # The content of a malformed message does not belong in the log.
        logger.warning("A webhook could not be applied", exc_info=None if is_final else error, extra=context)
        if is_final or int(record.attributes.approximate_receive_count) >= int(os.environ["MAX_RECEIVE_COUNT"]):
            try:
                _move_to_dead_letters(record, reason)
            except (ClientError, BotoCoreError):
                logger.exception("A webhook could not be moved to the dead-letter queue: SQS moves it", extra=context)
            else:
                return self.success_handler(record, None)
        return super().failure_handler(record, exception)


processor = Processor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
_heartbeat = WebhookHeartbeat()


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> PartialItemFailureResponse:
    """Apply a batch of messages. One that fails returns to the queue, in the end to the dead-letter queue."""
    recorder = deployed_recorder()
    applier = WebhookApplier(tables=recorder.tables, recorder=recorder, clock=bootstrap.clock)

    def apply(record: SQSRecord) -> None:
        applier.apply(record.body)

    response = process_partial_response(event=event, record_handler=apply, processor=processor, context=context)
    if applier.satisfied:
        Ending(recorder=recorder, clock=bootstrap.clock).end_of_companies(applier.satisfied)
    recorder.record_attainment()
    tally = applier.tally + recorder.tally
    emit(tally)
    logger.info("Batch of webhooks ended", extra={"tally": dict(tally)})
    try:
        _heartbeat.beat(recorder.tables.control, bootstrap.clock())
    except (ClientError, BotoCoreError):
        logger.exception("The webhook heartbeat could not be written; the next batch writes it")
    return response


def _message_id(record: SQSRecord) -> str:
    attribute = record.message_attributes["webhook-id"]
    return attribute.string_value if attribute and attribute.string_value else record.message_id


def _move_to_dead_letters(record: SQSRecord, reason: str) -> None:
    """Send a message to the dead-letter queue with the reason, which SQS would leave out."""
    bootstrap.sqs().send_message(
        QueueUrl=os.environ["WEBHOOK_DEAD_LETTER_QUEUE_URL"],
        MessageBody=record.body,
        MessageAttributes={
            "webhook-id": {"DataType": "String", "StringValue": _message_id(record)},
            # SQS accepts no control characters, of which an error may contain any.
            "reason": {"DataType": "String", "StringValue": ascii(reason)[1:-1][:1000]},
        },
    )
