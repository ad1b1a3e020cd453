"""An SQS queue that is encrypted, requires TLS, and keeps messages for 14 days, the maximum."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

_NO_DEAD_LETTERS = sqs.RedriveAllowPolicy(redrive_permission=sqs.RedrivePermission.DENY_ALL)


class Queue(sqs.Queue):
    """A queue that keeps messages for 14 days."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        local: bool = False,
        visibility_timeout: Duration | None = None,
        dead_letter_queue: sqs.DeadLetterQueue | None = None,
        takes_dead_letters: bool = False,
    ) -> None:
        """Create the queue. It requires TLS unless it is `local`.

        Queues of the account may name it as their dead-letter queue only if it `takes_dead_letters`.

        CloudFormation chooses its name. SQS refuses a name for a minute after its queue was deleted, as by a failed
        deployment.
        """
        super().__init__(
            scope,
            name,
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            # The local AWS speaks HTTP.
            enforce_ssl=not local,
            visibility_timeout=visibility_timeout,
            dead_letter_queue=dead_letter_queue,
            redrive_allow_policy=None if takes_dead_letters else _NO_DEAD_LETTERS,
        )
