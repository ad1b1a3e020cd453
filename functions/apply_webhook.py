"""Reads Codat's webhooks from the queue, and applies them to the tables."""

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness import tick, wiring
from freshness.metrics import NAMESPACE
from freshness.webhook import Webhook

logger = Logger(service="apply_webhook")
metrics = Metrics(namespace=NAMESPACE, service="apply_webhook")
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> PartialItemFailureResponse:
    """Apply a batch of messages. One that fails goes back to the queue alone, in the end to the dead-letter queue."""
    webhook = Webhook(store=wiring.store(), bus=wiring.bus(), policy=wiring.informed_policy(), clock=wiring.clock)

    def apply(record: SQSRecord) -> None:
        attribute = record.message_attributes["webhook-id"]
        webhook.apply(
            attribute.string_value if attribute and attribute.string_value else record.message_id, record.body
        )

    response = process_partial_response(event=event, record_handler=apply, processor=processor, context=context)
    tick.count(metrics, webhook.tally)
    return response
