"""Clients of AWS with the time limits that all functions share."""

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, overload

from botocore.config import Config
from botocore.session import Session, get_session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

# At INFO, botocore logs how each process found its credentials.
logging.getLogger("botocore").setLevel(logging.WARNING)
CONFIG = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 4})
"""Time limits in seconds, and attempts at each call: without a response, it fails before its function's time is up.

botocore's own limits of 60 seconds are longer than most functions may take.
"""


@overload
def client(service: Literal["dynamodb"]) -> "DynamoDBClient": ...
@overload
def client(service: Literal["events"]) -> "EventBridgeClient": ...
@overload
def client(service: Literal["sqs"]) -> "SQSClient": ...
@overload
def client(service: Literal["ssm"]) -> "SSMClient": ...
@overload
def client(service: Literal["stepfunctions"]) -> "SFNClient": ...


def client(service: Any) -> Any:
    """Return a client of an AWS service, with the time limits of `CONFIG`."""
    return _session().create_client(service, config=CONFIG)


@cache
def _session() -> Session:
    """Return botocore's session. Importing boto3 too would take a tenth of a cold start."""
    return get_session()
