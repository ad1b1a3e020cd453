"""The dead-letter queue of webhooks, on SQS."""

from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST_REASON = 1000

logger = Logger(service="codat-freshness")


class DeadLetters:
    def __init__(self, sqs: "SQSClient", url: str) -> None:
        self._sqs = sqs
        self._url = url

    def put(self, body: str, webhook_id: str, reason: str) -> bool:
        """Send a webhook with the reason, which SQS itself does not add. Return whether that succeeded."""
        # SQS accepts no control characters. An error may contain them.
        attributes = {"webhook-id": webhook_id, "reason": ascii(reason)[1:-1][:LONGEST_REASON]}
        try:
            self._sqs.send_message(
                QueueUrl=self._url,
                MessageBody=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )
        except (ClientError, BotoCoreError):
            logger.exception("A webhook could not be moved to the dead-letter queue: SQS moves it", extra=attributes)
            return False
        return True
