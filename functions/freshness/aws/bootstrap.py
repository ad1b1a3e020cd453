"""Settings from the environment, and the clients that they name, each created when it is first used."""

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import ClientError

from freshness.aws.event_bus import EventBus
from freshness.aws.tables import TableNames, Tables
from freshness.policy.loader import load
from freshness.policy.policy import Policy

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


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
    return load(Path(__file__).parents[2] / "freshness.toml")


def informed_policy() -> Policy:
    """Return the policy with what was learned of the fleet."""
    return policy().knowing(tables().learned.fleet())


def codat_api_key(*, reload: bool = False) -> str:
    """Return the key for Codat's API from Systems Manager; an empty one, which Codat refuses, until one is stored.

    It is cached for five minutes, so that it can be rotated; `reload` reads it again at once.
    """
    name = os.environ["CODAT_API_KEY_SECRET"]
    try:
        return parameters.get_parameter(name, decrypt=True, max_age=300, force_fetch=reload).strip()
    except GetParameterError as error:
        cause = error.__context__
        if isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ParameterNotFound":
            return ""
        raise
