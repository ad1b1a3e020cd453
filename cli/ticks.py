"""Starting a scheduled function at once."""

import json
from typing import TYPE_CHECKING

from botocore.config import Config

from cli.errors import CommandError
from cli.target import Target

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

LAMBDA_LIVES = 900
"""Seconds that a Lambda function may run."""


def ticks_client(stack: Target) -> "LambdaClient":
    """A client that waits for a tick to end, and does not run it twice because that takes long."""
    config = Config(read_timeout=LAMBDA_LIVES, retries={"total_max_attempts": 1})
    return stack.session.client("lambda", endpoint_url=stack.endpoint, config=config)


def run_tick(client: "LambdaClient", function: str) -> None:
    """Run a scheduled function to its end.

    Raises:
        CommandError: it failed.
    """
    answer = client.invoke(FunctionName=function, Payload=b"{}")
    if "FunctionError" in answer:
        told = json.loads(answer["Payload"].read())
        raise CommandError(f"{function} failed: {told.get('errorMessage', told)}. Its log in CloudWatch tells more.")
