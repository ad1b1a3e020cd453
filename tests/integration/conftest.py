"""Fixtures: Codat's API by the sandbox over HTTP, and AWS by a local AWS, apart from tables, which may be in memory."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import boto3
import botocore.session
import pytest
from botocore.config import Config

from codat_sandbox.server import running_sandbox
from estimate.memory_dynamodb import tables_in_memory
from freshness.aws.dynamodb.tables import TableNames, Tables
from local import local_aws
from local.processes import free_port, guarded_processes
from tests.integration.deployed import API_KEY, SETTINGS, Deployed
from tests.integration.roles import MemoryDynamoDBWithRoles, Roles, enforce, synthesise_once, template

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


@pytest.fixture(autouse=True)
def roles(monkeypatch: pytest.MonkeyPatch) -> Iterator[Roles]:
    """Enforce the roles of all handlers, and fail a test in which one makes a call that its role does not allow."""
    enforced = Roles()
    enforce(enforced, monkeypatch)
    yield enforced
    assert enforced.refused <= enforced.denied


@pytest.fixture
def tables(roles: Roles) -> Tables:
    """Return empty tables in memory for one test, of whose calls the roles are enforced too."""
    return tables_in_memory(cast(Any, MemoryDynamoDBWithRoles(roles)))


@pytest.fixture
def stored_tables(aws: None) -> Tables:
    """Return empty tables for one test in the local AWS, with the keys and indexes of the stack's."""
    kept = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
    dynamodb, names = boto3.client("dynamodb"), dict[str, str]()
    for table, properties in sorted(template().properties("AWS::DynamoDB::Table").items()):
        kind = next(kind for kind in KINDS if kind in table.lower())
        names[kind] = f"{kind}-{uuid4().hex}"
        dynamodb.create_table(TableName=names[kind], **{name: properties[name] for name in kept if name in properties})
    return Tables.open(dynamodb, TableNames(**names))


@pytest.fixture
def deployed(aws: None, tables: Tables, monkeypatch: pytest.MonkeyPatch, roles: Roles) -> Iterator[Deployed]:
    """Return the functions, with empty tables and a sandbox for one test."""
    with running_sandbox(SETTINGS, API_KEY) as sandbox:
        yield Deployed(tables, sandbox, monkeypatch, roles)
