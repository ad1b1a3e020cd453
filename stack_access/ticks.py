"""Running a scheduled function outside its schedule."""

import json
from typing import TYPE_CHECKING

from botocore.config import Config

from stack_access.errors import StackError
from stack_access.stack import DeployedStack

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

LONGEST_RUN = 900
"""Seconds that a Lambda function may run at most."""


def tick_client(stack: DeployedStack) -> "LambdaClient":
    """Return a Lambda client that waits for the end of a tick, and does not run it again when that takes long."""
    config = Config(read_timeout=LONGEST_RUN, retries={"total_max_attempts": 1})
    return stack.session.client("lambda", endpoint_url=stack.endpoint, config=config)


def run_tick(client: "LambdaClient", function: str) -> None:
    """Run a scheduled function, and wait until it ends.

    Raises:
        StackError: it failed.
    """
    response = client.invoke(FunctionName=function, Payload=b"{}")
    if "FunctionError" in response:
        error = json.loads(response["Payload"].read())
        raise StackError(f"{function} failed: {error.get('errorMessage', error)}. See its log in CloudWatch.")
