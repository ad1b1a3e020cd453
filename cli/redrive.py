"""`freshness redrive`: applying failed webhooks again, and publishing events again that could not be sent."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from cli.arguments import Json, selected_stack
from cli.output import print_json, print_text
from freshness.app import audit
from freshness.domain.audit import Operation
from stack_access.stack import DeployedStack

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH = 10
"""The most messages that one call receives."""


def redrive(context: typer.Context, *, as_json: Json = False) -> None:
    """Apply failed webhooks and send failed events again, and show how many there were and why they had failed."""
    stack = selected_stack(context)
    sqs = stack.session.client("sqs", endpoint_url=stack.endpoint)
    sent_to = stack.outputs.notify_dead_letter_queue_url
    with audit.recorded(stack.services, stack.actor, Operation.REDRIVE):
        webhooks = _apply_again(sqs, stack)
        events = _publish_again(sqs, stack, sent_to) if sent_to else Counter()
    if as_json:
        moved = {"moved": webhooks.total(), "reasons": dict(webhooks)}
        print_json(moved | ({"published": events.total(), "publishedReasons": dict(events)} if sent_to else {}))
        return
    _print(f"{webhooks.total()} webhooks were moved back to the queue.", webhooks)
    if sent_to:
        _print(f"{events.total()} events were published again.", events)


def _print(sentence: str, reasons: Counter[str]) -> None:
    print_text(sentence)
    for reason, number in reasons.most_common():
        print_text(f"{number:6} {reason}")


def _apply_again(sqs: "SQSClient", stack: DeployedStack) -> Counter[str]:
    """Move webhooks back to their queue. Return how many had failed for each reason."""
    source, destination = stack.outputs.webhook_dead_letter_queue_url, stack.outputs.webhook_queue_url
    reasons: Counter[str] = Counter()
    for message in _dead_letters(sqs, source):
        attributes = message.get("MessageAttributes", {})
        # Sent before it is deleted: applying a webhook twice changes nothing, but losing one does.
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
    return reasons


def _publish_again(sqs: "SQSClient", stack: DeployedStack, source: str) -> Counter[str]:
    """Publish events again, with the same ids. Return how many EventBridge could not send for each reason."""
    bus = stack.services.bus
    reasons: Counter[str] = Counter()
    for message in _dead_letters(sqs, source):
        event = json.loads(message["Body"])
        bus.publish_again(event["detail-type"], event["detail"])
        sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        attributes = message.get("MessageAttributes", {})
        reason = attributes["ERROR_MESSAGE"].get("StringValue") if "ERROR_MESSAGE" in attributes else None
        reasons[reason or "unknown"] += 1
    return reasons


def _dead_letters(sqs: "SQSClient", url: str) -> Iterator["MessageTypeDef"]:
    """Yield the messages that are in the queue now, but not those that fail again and so return to it."""
    now = time.time() * 1000
    while received := sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=BATCH,
        MessageAttributeNames=["webhook-id", "reason", "ERROR_MESSAGE"],
        MessageSystemAttributeNames=["SentTimestamp"],
        WaitTimeSeconds=1,
    ).get("Messages"):
        before = [message for message in received if int(message["Attributes"]["SentTimestamp"]) <= now]
        if not before:
            return
        yield from before
