"""Tasks of Step Functions that wait for the end of a request, by their tokens."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

GONE = frozenset(("TaskTimedOut", "TaskDoesNotExist", "InvalidToken"))
"""Codes of errors about a task that waits no longer."""
LONGEST_CAUSE = 32_000
"""Characters. Step Functions accepts few more."""

logger = Logger(service="codat-freshness")


class Tasks:
    """The tasks of Step Functions that wait with a token. A task that waits no longer is left alone."""

    def __init__(self, step_functions: "SFNClient") -> None:
        self._client = step_functions

    def succeed(self, token: str, output: Mapping[str, Any]) -> None:
        try:
            self._client.send_task_success(taskToken=token, output=json.dumps(output))
        except ClientError as error:
            _require_gone(error)

    def fail(self, token: str, error_name: str, cause: str) -> None:
        try:
            self._client.send_task_failure(taskToken=token, error=error_name, cause=cause[:LONGEST_CAUSE])
        except ClientError as error:
            _require_gone(error)


def _require_gone(error: ClientError) -> None:
    if error.response["Error"]["Code"] not in GONE:
        raise error
    logger.info("A task waits no longer", extra={"reason": error.response["Error"]["Code"]})
