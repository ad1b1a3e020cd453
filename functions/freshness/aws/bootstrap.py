"""Where the parts are joined: settings from the environment, clients from settings, each made when first used."""

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools.utilities import parameters

from freshness.aws.event_bus import Bus
from freshness.aws.store import Store, Tables
from freshness.policy.loader import load
from freshness.policy.policy import Policy

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def clock() -> datetime:
    """Now."""
    return datetime.now(UTC)


@cache
def store() -> Store:
    """The tables."""
    tables = Tables(
        companies=os.environ["COMPANIES_TABLE"],
        feeds=os.environ["FEEDS_TABLE"],
        datasets=os.environ["DATASETS_TABLE"],
        control=os.environ["CONTROL_TABLE"],
    )
    return Store(boto3.client("dynamodb"), tables)


@cache
def bus() -> Bus:
    """The event bus."""
    return Bus(boto3.client("events"), os.environ["EVENT_BUS"])


@cache
def sqs() -> "SQSClient":
    """The queues."""
    return boto3.client("sqs")


@cache
def policy() -> Policy:
    """The policy that was deployed with the functions."""
    return load(Path(__file__).parents[2] / "freshness.toml")


def informed_policy() -> Policy:
    """The policy, knowing what has been learned of the fleet: read only where a promise depends on it."""
    return policy().knowing(store().fleet_rates()) if policy().learns else policy()


def codat_api_key(*, anew: bool = False) -> str:
    """The key for Codat's API, from Secrets Manager; read anew every five minutes too, so that it can be rotated."""
    return parameters.get_secret(os.environ["CODAT_API_KEY_SECRET"], max_age=300, force_fetch=anew).strip()
