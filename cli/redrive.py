"""`freshness redrive`: having webhooks applied that could not be before."""

import typer

from cli.output import Json, say, say_json
from cli.target import target

BATCH = 10


def redrive(context: typer.Context, *, as_json: Json = False) -> None:
    """Put the webhooks of the dead-letter queue back into the queue, and tell how many there were."""
    stack = target(context)
    sqs = stack.session.client("sqs", endpoint_url=stack.endpoint)
    source, destination = stack.outputs.webhook_dead_letter_queue_url, stack.outputs.webhook_queue_url
    moved = 0
    while messages := sqs.receive_message(
        QueueUrl=source, MaxNumberOfMessages=BATCH, MessageAttributeNames=["webhook-id"], WaitTimeSeconds=1
    ).get("Messages"):
        for message in messages:
            # Sent before it is deleted: a webhook that is applied twice changes nothing, one that is lost does.
            sqs.send_message(
                QueueUrl=destination,
                MessageBody=message["Body"],
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": attribute["StringValue"]}
                    for name, attribute in message.get("MessageAttributes", {}).items()
                    if "StringValue" in attribute
                },
            )
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    if as_json:
        say_json({"moved": moved})
    else:
        say(f"{moved} webhooks were put back to be applied.")
