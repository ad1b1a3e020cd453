"""`freshness redrive`: having webhooks applied that could not be before."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from cli.output import Json, say, say_json
from cli.target import target

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH = 10


def redrive(context: typer.Context, *, as_json: Json = False) -> None:
    """Put the webhooks of the dead-letter queue back into the queue; tell how many, and why they were not applied."""
    stack = target(context)
    sqs = stack.session.client("sqs", endpoint_url=stack.endpoint)
    source, destination = stack.outputs.webhook_dead_letter_queue_url, stack.outputs.webhook_queue_url
    reasons: Counter[str] = Counter()
    for message in _dead_letters(sqs, source):
        given = message.get("MessageAttributes", {})
        # Sent before it is deleted: a webhook that is applied twice changes nothing, one that is lost does.
        sqs.send_message(
            QueueUrl=destination,
            MessageBody=message["Body"],
            MessageAttributes={
                name: {"DataType": "String", "StringValue": attribute["StringValue"]}
                for name, attribute in given.items()
                if name == "webhook-id" and "StringValue" in attribute
            },
        )
        sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        reason = given["reason"].get("StringValue") if "reason" in given else None
        reasons[reason or "not told: see the log of apply_webhook"] += 1
    if as_json:
        say_json({"moved": reasons.total(), "reasons": dict(reasons)})
        return
    say(f"{reasons.total()} webhooks were put back to be applied.")
    for reason, number in reasons.most_common():
        say(f"{number:6} {reason}")


def _dead_letters(sqs: "SQSClient", url: str) -> Iterator["MessageTypeDef"]:
    """What lies in the dead-letter queue by now; not what comes back meanwhile, as it still cannot be applied."""
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
