"""Settings from the environment, and the clients that they name, each created when it is first used."""

import os
import time
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from freshness.aws.event_bus import EventBus
from freshness.aws.tables import TableNames, Tables
from freshness.policy import compiled
from freshness.policy.policy import Policy

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

KEY_CACHED_SECONDS = 300
"""How long the key for Codat's API is cached."""


def clock() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@cache
def tables() -> Tables:
    """Return the tables."""
    names = TableNames(
        companies=os.environ["COMPANIES_TABLE"],
        feeds=os.environ["FEEDS_TABLE"],
        datasets=os.environ["DATASETS_TABLE"],
        control=os.environ["CONTROL_TABLE"],
    )
    return Tables.open(boto3.client("dynamodb"), names)


@cache
def event_bus() -> EventBus:
    """Return the event bus."""
    return EventBus(boto3.client("events"), os.environ["EVENT_BUS"])


@cache
def sqs() -> "SQSClient":
    """Return a client for the queues."""
    return boto3.client("sqs")


@cache
def policy() -> Policy:
    """Return the policy that was deployed with the functions."""
    return compiled.read(Path(__file__).parents[2])


def informed_policy() -> Policy:
    """Return the policy with what was learned of the fleet."""
    return policy().knowing(tables().learned.fleet())


def codat_api_key(*, reload: bool = False) -> str:
    """Return the key for Codat's API from Systems Manager; an empty one, which Codat refuses, until one is stored.

    It is cached for five minutes, so that it can be rotated; `reload` reads it again at once.
    """
    if reload:
        stored_key.cache_clear()
    return stored_key(os.environ["CODAT_API_KEY_SECRET"], int(time.monotonic() // KEY_CACHED_SECONDS))


@lru_cache(maxsize=1)
def stored_key(secret: str, period: int) -> str:  # noqa: ARG001 - it is read once in each period
    """Return the key for Codat's API that is stored as a secret; an empty one if none is."""
    try:
        response = boto3.client("ssm").get_parameter(Name=secret, WithDecryption=True)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return ""
        raise
    return response["Parameter"]["Value"].strip()
