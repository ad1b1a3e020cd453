"""Starting a scheduled function at once."""

import json

from botocore.config import Config

from cli.errors import CommandError
from cli.target import Target

LAMBDA_LIVES = 900
"""Seconds that a Lambda function may run."""


def run_tick(stack: Target, function: str) -> None:
    """Run a scheduled function to its end.

    Raises:
        CommandError: it failed.
    """
    # A tick is not to be run twice because its answer is awaited for long.
    config = Config(read_timeout=LAMBDA_LIVES, retries={"total_max_attempts": 1})
    client = stack.session.client("lambda", endpoint_url=stack.endpoint, config=config)
    answer = client.invoke(FunctionName=function, Payload=b"{}")
    if "FunctionError" in answer:
        told = json.loads(answer["Payload"].read())
        raise CommandError(f"{function} failed: {told.get('errorMessage', told)}. Its log in CloudWatch tells more.")
