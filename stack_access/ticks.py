"""Running a scheduled function outside its schedule."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    invoke(client, function, {})


def invoke(client: "LambdaClient", function: str, event: Mapping[str, Any]) -> Any:
    """Invoke a function, wait until it ends, and return what it returns.

    Raises:
        StackError: it failed.
    """
    response = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
    payload = json.loads(response["Payload"].read())
    if "FunctionError" in response:
        raise StackError(f"{function} failed: {payload.get('errorMessage', payload)}. See its log in CloudWatch.")
    return payload
