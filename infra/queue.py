"""One way to make a queue: encrypted, over TLS alone, and keeping what it holds for as long as SQS can."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class Queue(sqs.Queue):
    """A queue whose messages wait for 14 days."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        visibility_timeout: Duration | None = None,
        dead_letter_queue: sqs.DeadLetterQueue | None = None,
    ) -> None:
        """Make the queue; without a dead-letter queue it is one itself."""
        super().__init__(
            scope,
            name,
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=visibility_timeout,
            dead_letter_queue=dead_letter_queue,
        )
