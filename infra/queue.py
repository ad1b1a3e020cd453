"""An SQS queue that is encrypted, requires TLS, and keeps messages for 14 days, the maximum."""

from collections.abc import Sequence

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
        local: bool = False,
        queue_name: str | None = None,
        dead_letters_of: Sequence[str] | None = None,
        visibility_timeout: Duration | None = None,
        dead_letter_queue: sqs.DeadLetterQueue | None = None,
    ) -> None:
        """Create the queue.

        It requires TLS unless it is `local`. `dead_letters_of` are the ARNs of the queues whose dead letters this one
        takes; `None`, if it takes none.
        """
        super().__init__(
            scope,
            name,
            queue_name=queue_name,
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            # The local AWS speaks HTTP.
            enforce_ssl=not local,
            visibility_timeout=visibility_timeout,
            dead_letter_queue=dead_letter_queue,
        )
        if dead_letters_of is not None:
            allowed = {"redrivePermission": "byQueue", "sourceQueueArns": list(dead_letters_of)}
            resource = self.node.default_child
            assert isinstance(resource, sqs.CfnQueue)  # noqa: S101 - what a queue consists of
            resource.redrive_allow_policy = allowed if dead_letters_of else {"redrivePermission": "denyAll"}
