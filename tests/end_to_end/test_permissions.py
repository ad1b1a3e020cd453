"""The policies of IAM that `./freshness policies` prints allow what the command line does, and nothing else."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.client import BaseClient
from typer.testing import CliRunner, Result

from cli.commands import app
from freshness.app.page import read as page
from freshness.app.page.read import page_view
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed
from local.settings import ROOT
from local.stack import RunningStack
from local.watch import running_ticks
from stack_access.stack import DeployedStack, clock
from tests.end_to_end.conftest import wait_for

NAMES = {"Invoke": "InvokeFunction"}
"""Actions of IAM that are not named as the operation."""
FREE = {"sts:GetCallerIdentity"}
"""Needs no permission."""
RARE = {"events:PutEvents"}
"""Only needed by who is the first to see that a promise is kept again because less is promised by now."""
Run = Callable[..., Result]


def printed() -> dict[str, list[dict[str, Any]]]:
    """Return the statements that `./freshness policies` prints, by role."""
    result = CliRunner().invoke(app, ["--stack", "CodatFreshness", "policies"])
    assert result.exit_code == 0, (result.output, result.exception)
    return {role: policy["Statement"] for role, policy in json.loads(result.stdout).items()}


def actions(statements: list[dict[str, Any]]) -> set[str]:
    listed = [each["Action"] for each in statements]
    return {action for each in listed for action in ([each] if isinstance(each, str) else each)}


@pytest.fixture(scope="module")
def read(stack: RunningStack) -> tuple[Company, Feed]:
    """A company, and a feed of it that can be refreshed and was."""

    def found() -> tuple[Company, Feed] | None:
        for company in stack.tables.companies.scan():
            for feed in stack.tables.feeds.of_company(company.company_id):
                if feed.succeeded_at and not feed.in_flight and company.connections[feed.connection_id].is_linked:
                    return company, feed
        return None

    with running_ticks(stack.deployed) as ticks:
        known = wait_for(found)
    ticks.join()  # Their calls are not those of a command.
    return known


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The actions of IAM that the calls of this process need."""
    made, call = set[str](), BaseClient._make_api_call  # type: ignore[attr-defined]

    def recorded(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        service = client.meta.service_model.signing_name
        made.add(f"{service}:{NAMES.get(operation, operation)}")
        return call(client, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    return made


@pytest.fixture
def run_as(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    """A function that creates a user with policies, and returns one that runs commands as that user."""
    iam = boto3.client("iam")

    def run_as(name: str, *statements: dict[str, Any]) -> Run:
        iam.create_user(UserName=name)
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="printed", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]

        def run(*arguments: str) -> Result:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            return CliRunner().invoke(app, ["--stack", "CodatFreshness", *arguments])

        return run

    yield run_as


def test_a_reader_may_do_what_it_should_and_needs_every_action(
    stack: RunningStack,
    read: tuple[Company, Feed],
    calls: set[str],
    run_as: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policies, (company, feed) = printed(), read
    run_with_secrets = run_as("reader-of-secrets", *policies["reader"], *policies["secrets"])
    run = run_as("reader", *policies["reader"])
    calls.clear()
    for arguments in (
        ("status", "--json"),
        ("status", company.company_id),
        ("explain", company.company_id, feed.data_type),
        ("report",),
        ("export",),
    ):
        result = run(*arguments)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
    monkeypatch.setattr(page, "COMPANIES", 1)  # More companies than the page reads are counted.
    page_view(DeployedStack.in_aws("CodatFreshness", None, None, ROOT / "freshness.toml").queries, clock())
    examined = run_with_secrets("doctor", "--json")
    assert isinstance(examined.exception, SystemExit | None), examined.exception
    subjects = {finding["subject"] for finding in json.loads(examined.stdout)}
    assert {"Codat's account", "concurrent executions"} <= subjects
    assert calls == actions(policies["reader"]) | actions(policies["secrets"])

    refused = run("pause", company.company_id)
    assert refused.exit_code != 0
    assert "not authorized" in refused.stderr


def test_an_operator_may_do_what_it_should_and_needs_every_action(
    stack: RunningStack, read: tuple[Company, Feed], calls: set[str], run_as: Callable[..., Run]
) -> None:
    policies, (company, feed) = printed(), read
    event = {"id": "e", "eventType": "not.used", "generatedDate": "2026-11-23T12:00:00Z", "payload": {}}
    boto3.client("sqs").send_message(
        QueueUrl=stack.outputs.webhook_dead_letter_queue_url, MessageBody=json.dumps(event)
    )
    run = run_as("operator", *policies["reader"], *policies["secrets"], *policies["operator"])
    calls.clear()
    for arguments in (
        ("pause", company.company_id),
        ("resume", company.company_id),
        ("pause",),
        ("resume",),
        ("refresh", company.company_id, feed.data_type),
        ("ensure", company.company_id, feed.data_type, "--max-age", "365d", "--within", "2m"),
        ("redrive",),
    ):
        result = run(*arguments)
        # These two wait for ticks, which may not queue the refresh in time on a busy machine.
        is_late = arguments[0] in ("refresh", "ensure") and "AWS refused" not in result.stderr
        assert result.exit_code == 0 or is_late, (arguments, result.output, result.exception)
    with httpx.Client(base_url=stack.codat.base_url, auth=(stack.codat.api_key, "")) as codat:
        registered = run("register-webhook", "--json")
        assert registered.exit_code == 0, (registered.output, registered.exception)
        codat.delete(f"/webhooks/{json.loads(registered.stdout)['id']}")
    assert actions(policies["operator"]) - calls <= RARE
    assert calls - FREE <= actions(policies["reader"] + policies["secrets"] + policies["operator"])
