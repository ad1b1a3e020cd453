"""`freshness redrive`: applying webhooks from the dead-letter queue again."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from cli.arguments import Json, selected_stack
from cli.output import print_json, print_text

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH = 10
"""The most messages that one call receives."""


def redrive(context: typer.Context, *, as_json: Json = False) -> None:
    """Move the webhooks of the dead-letter queue back to the queue, and show how many and why they had failed."""
    stack = selected_stack(context)
    sqs = stack.session.client("sqs", endpoint_url=stack.endpoint)
    source, destination = stack.outputs.webhook_dead_letter_queue_url, stack.outputs.webhook_queue_url
    reasons: Counter[str] = Counter()
    for message in _dead_letters(sqs, source):
        attributes = message.get("MessageAttributes", {})
        # Sent before it is deleted: to apply a webhook twice changes nothing, and to lose one does.
        sqs.send_message(
            QueueUrl=destination,
            MessageBody=message["Body"],
            MessageAttributes={
                name: {"DataType": "String", "StringValue": attribute["StringValue"]}
                for name, attribute in attributes.items()
                if name == "webhook-id" and "StringValue" in attribute
            },
        )
        sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        reason = attributes["reason"].get("StringValue") if "reason" in attributes else None
        reasons[reason or "unknown: see the log of apply_webhook"] += 1
    if as_json:
        print_json({"moved": reasons.total(), "reasons": dict(reasons)})
        return
    print_text(f"{reasons.total()} webhooks were moved back to the queue.")
    for reason, number in reasons.most_common():
        print_text(f"{number:6} {reason}")


def _dead_letters(sqs: "SQSClient", url: str) -> Iterator["MessageTypeDef"]:
    """Yield the messages that are in the queue now, and none that returns to it because it fails again."""
    now = time.time() * 1000
    while received := sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=BATCH,
        MessageAttributeNames=["webhook-id", "reason"],
        MessageSystemAttributeNames=["SentTimestamp"],
        WaitTimeSeconds=1,
    ).get("Messages"):
        before = [message for message in received if int(message["Attributes"]["SentTimestamp"]) <= now]
        if not before:
            return
        yield from before
