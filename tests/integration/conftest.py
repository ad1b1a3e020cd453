"""Fixtures of real parts: DynamoDB's protocol by a local AWS, and Codat's API by the sandbox."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import botocore.session
import pytest
from botocore.config import Config

from codat_sandbox.server import running_sandbox
from freshness.aws.dynamodb.tables import TableNames, Tables
from local import local_aws
from local.processes import free_port, guarded_processes
from tests.integration.deployed import API_KEY, SETTINGS, Deployed
from tests.integration.roles import Roles, enforce, synthesise_once, template

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KINDS = ("companies", "feeds", "datasets", "control")


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start a local AWS that every boto3 client reaches."""
    folder: Path = tmp_path_factory.mktemp("aws")
    port = free_port()
    with guarded_processes(folder, ()) as processes, pytest.MonkeyPatch.context() as patch:
        local_aws.start(processes, port, folder / "temporary")
        for name, value in local_aws.tool_environment(port).items():
            patch.setitem(os.environ, name, value)
        # Composing the name of the client takes a tenth of the processor time of a call.
        session = botocore.session.get_session()
        session.set_default_client_config(Config(user_agent="tests"))
        patch.setattr(boto3, "DEFAULT_SESSION", boto3.Session(botocore_session=session))
        yield


@pytest.fixture(scope="session", autouse=True)
def _template(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """Synthesise the template in one of the processes."""
    own = tmp_path_factory.getbasetemp()
    synthesise_once(own if worker_id == "master" else own.parent)


@pytest.fixture(scope="session")
def table_definitions(_template: None) -> list[dict[str, Any]]:
    """Return the keys and indexes of the tables as the stack defines them."""
    kept = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
    return [
        {"TableName": name} | {key: value for key, value in properties.items() if key in kept}
        for name, properties in sorted(template().properties("AWS::DynamoDB::Table").items())
    ]


@pytest.fixture(scope="session")
def dynamodb(aws: None) -> "DynamoDBClient":
    """Return a client for the local DynamoDB."""
    return boto3.client("dynamodb")


@pytest.fixture(scope="session")
def make_tables(dynamodb: "DynamoDBClient", table_definitions: list[dict[str, Any]]) -> Callable[[], Tables]:
    """Return a function that creates empty tables."""

    def make() -> Tables:
        names: dict[str, str] = {}
        for definition in table_definitions:
            kind = next(kind for kind in KINDS if kind in definition["TableName"].lower())
            names[kind] = f"{kind}-{uuid4().hex}"
            dynamodb.create_table(**definition | {"TableName": names[kind]})
        return Tables.open(dynamodb, TableNames(**names))

    return make


@pytest.fixture
def tables(make_tables: Callable[[], Tables]) -> Tables:
    """Return empty tables for one test."""
    return make_tables()


@pytest.fixture(autouse=True)
def roles(monkeypatch: pytest.MonkeyPatch) -> Iterator[Roles]:
    """Enforce the roles of all handlers, and fail a test in which one makes a call that its role does not allow."""
    enforced = Roles()
    enforce(enforced, monkeypatch)
    yield enforced
    assert enforced.refused <= enforced.denied


@pytest.fixture
def deployed(tables: Tables, monkeypatch: pytest.MonkeyPatch, roles: Roles) -> Iterator[Deployed]:
    """Return the functions, with empty tables and a sandbox for one test."""
    with running_sandbox(SETTINGS, API_KEY) as sandbox:
        yield Deployed(tables, sandbox, monkeypatch, roles)
