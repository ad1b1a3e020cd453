"""An SQS queue that is encrypted, requires TLS, and keeps messages for 14 days, the maximum."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class Queue(sqs.Queue):
    """A queue that keeps messages for 14 days."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        visibility_timeout: Duration | None = None,
        dead_letter_queue: sqs.DeadLetterQueue | None = None,
    ) -> None:
        """Create the queue. One without a dead-letter queue is itself a dead-letter queue."""
        super().__init__(
            scope,
            name,
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=visibility_timeout,
            dead_letter_queue=dead_letter_queue,
        )
