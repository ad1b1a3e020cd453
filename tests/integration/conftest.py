"""Real parts to test against: the DynamoDB protocol by a local AWS, and Codat's API by the sandbox."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from aws_cdk import App, Stack
from aws_cdk.assertions import Template

from freshness.aws.store import Store
from freshness.aws.store import Tables as TableNames
from infra.tables import Tables
from local import local_aws
from local.codat_sandbox.server import running_sandbox
from local.processes import free_port, guarded_processes
from tests.integration.deployed import API_KEY, SETTINGS, Deployed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KINDS = ("companies", "feeds", "datasets", "control")


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A local AWS, which every boto3 client made meanwhile reaches."""
    folder: Path = tmp_path_factory.mktemp("aws")
    port = free_port()
    with guarded_processes(folder, ()) as processes, pytest.MonkeyPatch.context() as patch:
        local_aws.start(processes, port, folder / "temporary")
        for name, value in local_aws.tool_environment(port).items():
            patch.setitem(os.environ, name, value)
        yield


@pytest.fixture(scope="session")
def table_definitions() -> list[dict[str, Any]]:
    """The tables as the stack defines them, keys and indexes only."""
    stack = Stack(App())
    Tables(stack, disposable=True)
    resources = Template.from_stack(stack).find_resources("AWS::DynamoDB::Table")
    kept = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
    return [
        {"TableName": name} | {key: value for key, value in resource["Properties"].items() if key in kept}
        for name, resource in sorted(resources.items())
    ]


@pytest.fixture
def dynamodb(aws: None) -> "DynamoDBClient":
    """A client for the local DynamoDB."""
    return boto3.client("dynamodb")


@pytest.fixture(scope="session")
def make_store(aws: None, table_definitions: list[dict[str, Any]]) -> Callable[[], Store]:
    """Makes empty tables."""
    dynamodb = boto3.client("dynamodb")

    def make() -> Store:
        names: dict[str, str] = {}
        for definition in table_definitions:
            kind = next(kind for kind in KINDS if kind in definition["TableName"].lower())
            names[kind] = f"{kind}-{uuid4().hex}"
            dynamodb.create_table(**definition | {"TableName": names[kind]})
        return Store(dynamodb, TableNames(**names))

    return make


@pytest.fixture
def store(make_store: Callable[[], Store]) -> Store:
    """Empty tables of the test's own."""
    return make_store()


@pytest.fixture
def deployed(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """The functions, with empty tables and a sandbox of their own."""
    with running_sandbox(SETTINGS, API_KEY) as sandbox:
        yield Deployed(store, sandbox, monkeypatch)
