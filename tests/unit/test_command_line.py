"""The command line: any arguments, what it says without a stack, which stack it finds, and policies that it prints."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer
import typer.main
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli import arguments
from cli.commands import FAILED, WRONG, app
from cli.ensure import NOT_IN_TIME
from cli.output import with_json_keys
from estimate.memory_dynamodb import tables_in_memory
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.clean_text import HIDDEN
from freshness.domain.companies.company import Company
from stack_access.errors import StackError
from stack_access.outputs import Outputs
from stack_access.page_server import PageServer
from stack_access.policies import Resources, Role
from stack_access.stack import DeployedStack
from tests.builders import NOON
from tests.integration.recording_bus import RecordingBus

ROOT = Path(__file__).parents[2]
COMPANY = Company(
    company_id="7e1b7e0c-6a0e-4a39-b0a6-1e1a4b0f6c55", name="Harbour Books Pty Ltd", tags={"credit_limit": "1"}
)


def commands(group: Any, *path: str) -> dict[tuple[str, ...], Any]:
    """Return every command, also those of groups such as `policy`, by what one types for it."""
    found = {path: group} if path else {}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, *path, name)
    return found


COMMANDS = commands(typer.main.get_command(app))
OPTIONS = sorted({name for command in COMMANDS.values() for each in command.params for name in each.opts})
HOSTILE = (
    *("", " ", "-", "--", "\0", "\n", "\x1b[2J", "\udcff", "../..", "/dev/full/x", "9" * 5000, "-1", "1e999", "nan"),
    *("99999999", "0", "1h", "PT1H", "P", "30d", "9999w", "Harbour", "invoices", COMPANY.company_id, "[bold]", "[/]"),
    *("freshness.toml", "nothing.toml", "csv", "hour", "stale", "é\u202e", "A" * 10_000),
)


def refuse(*_: object, **__: object) -> Any:
    raise EndpointConnectionError(endpoint_url="https://nowhere.test")


class Refusing:
    """A client of AWS whose every call fails."""

    exceptions = Mock(ParameterNotFound=KeyError)

    def __getattr__(self, _: str) -> Any:
        return refuse


class StackInMemory(DeployedStack):
    """A stack whose tables are in memory, and whose other parts do not answer."""

    @cached_property
    def tables(self) -> Tables:
        tables = tables_in_memory()
        tables.companies.put(COMPANY)
        return tables


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands work on a stack in memory, in an empty folder."""
    outputs = tmp_path / "outputs.json"
    values = {field.alias: "x" for field in Outputs.model_fields.values() if field.alias}
    outputs.write_text(json.dumps(values))

    def of_any(*given: Any) -> StackInMemory:
        session = Mock(region_name="eu-west-2", client=lambda *_, **__: Refusing())
        return StackInMemory(session, "CodatFreshness", given[-1], None, outputs)

    monkeypatch.setattr(DeployedStack, "in_aws", of_any)
    monkeypatch.setattr(DeployedStack, "of_local_run", of_any)
    monkeypatch.setattr(PageServer, "serve_forever", lambda *_: None)
    monkeypatch.setattr("mcp.server.MCPServer.run", lambda *_: None)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


def run(*arguments: str) -> tuple[int, str]:
    """Return the exit status of a command and what it wrote on the standard error."""
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exc_info)
    return result.exit_code, result.stderr


ARGUMENTS = st.one_of(st.sampled_from(HOSTILE), st.sampled_from(OPTIONS), st.text(max_size=20))


@given(
    command=st.sampled_from(sorted(COMMANDS)),
    before=st.lists(ARGUMENTS, max_size=2),
    after=st.lists(ARGUMENTS, max_size=5),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_arguments_make_a_command_crash(
    stack: None, command: tuple[str, ...], before: list[str], after: list[str]
) -> None:
    status, message = run(*before, *command, *(each for each in after if "/" not in each))
    assert status in (0, FAILED, WRONG, NOT_IN_TIME)
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("arguments", "expectation"),
    [
        (("--region", "", "status"), "expected a name"),
        (("--stack", " ", "status"), "expected a name"),
        (("--local", "--stack", "foo", "status"), "expected it alone, and not with --stack"),
        (("page", "nowhere/x.html"), "it cannot be written: No such file or directory"),
        (("page", "--port", "99999999"), "less than or equal to 65535"),
        (("page", "--port", "9" * 5000), "exceeded maximum size"),
        (("status", ""), "expected a name"),
        (("explain", "Harbour"), "Missing argument 'TYPE'"),
        (("explain", "", "invoices"), "expected a name"),
        (("explain", "Harbour", ""), "expected a name"),
        (("refresh", "Harbour", ""), "expected a name"),
        (("pause", ""), "expected a name"),
        (("ensure", "Harbour", "invoices", "--within", "soon"), "expected a duration such as"),
        (("report", "--since", "1 minute"), "expected from 1h"),
        (("policy", "check", "nothing.toml"), "nothing.toml: expected a file here"),
    ],
)
def test_wrong_arguments_end_with_one_sentence_and_the_status_2(
    stack: None, arguments: tuple[str, ...], expectation: str
) -> None:
    status, message = run(*arguments)
    assert status == WRONG
    assert expectation in " ".join(message.replace("│", " ").split())


def test_json_has_keys_in_camel_case_and_leaves_names_that_are_data() -> None:
    record = with_json_keys({"the_tags": [replace(COMPANY, tags={"credit_limit": "1"})]})
    assert record["the_tags"][0]["companyId"] == COMPANY.company_id
    assert record["the_tags"][0]["tags"] == {"credit_limit": "1"}


@pytest.mark.parametrize("arguments", [("pause", "7e1b"), ("explain", "7e1b", "x")])
def test_no_name_can_move_or_hide_other_text_in_a_terminal(
    stack: None, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    name = "7e1b\x1b[2J\x9b2J\u202eLtd\r\N{SNOWMAN}"
    monkeypatch.setattr(sys.modules[__name__], "COMPANY", replace(COMPANY, name=name))
    monkeypatch.setattr(StackInMemory, "caller", "arn:aws:iam::123456789012:user/ann")
    monkeypatch.setattr(StackInMemory, "_bus", RecordingBus())
    result = CliRunner().invoke(app, arguments)

    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not HIDDEN.search(result.output.replace("\n", ""))
    assert "\N{SNOWMAN}" in result.output


def test_half_of_a_character_in_a_file_name_or_argument_is_no_defect(stack: None) -> None:
    assert run("page", "\udcff.html")[0] == 0
    assert Path("\udcff.html").exists()
    assert run("status", "\udcff")[0] == FAILED
    assert run("status", "--json")[0] == 0
    assert json.dumps(with_json_keys(["\udcff"])) == '["?"]'


NOWHERE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Where AWS finds no settings."""


def freshness(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `./freshness` without any AWS account."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [ROOT / "freshness", *arguments], env=unset | NOWHERE, capture_output=True, text=True, check=False
    )


def test_help_lists_the_commands() -> None:
    shown = freshness("--help")
    assert shown.returncode == 0
    assert {"status", "explain", "refresh", "pause", "resume", "export"} <= set(shown.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "message"),
    [
        (("status",), {}, FAILED, "name one with --region"),
        (("--region", "eu-west-2", "status"), {}, FAILED, "No AWS credentials"),
        (("status",), {"AWS_REGION": "eu-west-2"}, FAILED, "No AWS credentials"),
        (("status",), {"AWS_DEFAULT_REGION": "eu-west-2"}, FAILED, "No AWS credentials"),
        (("--profile", "nobody", "status"), {}, WRONG, "aws configure list-profiles"),
    ],
)
def test_without_a_region_credentials_or_profile_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    status: int,
    message: str,
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**NOWHERE, **environment}.items():
        monkeypatch.setenv(name, value)

    found, error = run(*arguments)

    assert (found, len(error.splitlines())) == (status, 1)
    assert message in error


def test_a_policy_is_checked_without_aws_and_the_cdk_in_less_than_a_second(stack: None, tmp_path: Path) -> None:
    before = os.times()
    valid = freshness("policy", "check", str(ROOT / "freshness.toml"))
    after = os.times()
    assert (valid.returncode, valid.stdout) == (0, f"{ROOT / 'freshness.toml'} is valid.\n")
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1

    mistaken = tmp_path / "mistaken.toml"
    mistaken.write_text('[default]\nfresh_within = "1 minute"\n')
    status, error = run("policy", "check", str(mistaken))
    assert (status, len(error.splitlines())) == (WRONG, 1)
    assert f"{mistaken}:2: default.fresh_within: expected at least 4 minutes" in error


def described(name: str, bus: str) -> dict[str, Any]:
    """Return CloudFormation's description of a stack of Codat Freshness."""
    outputs = {field.alias: "x" for field in Outputs.model_fields.values()} | {"EventBusName": bus}
    return {
        "StackName": name,
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
    }


def stack_in(*stacks: dict[str, Any], name: str | None = None) -> DeployedStack:
    """Return the stack of a name, or the only one, in an account with these stacks."""
    cloudformation = Mock()

    def describe(StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        found = [stack for stack in stacks if stack["StackName"] == StackName]
        if not found:
            raise ClientError({"Error": {"Message": f"Stack {StackName} does not exist"}}, "DescribeStacks")
        return {"Stacks": found}

    cloudformation.describe_stacks.side_effect = describe
    cloudformation.get_paginator.return_value.paginate.return_value = [{"Stacks": [stack]} for stack in stacks]
    session = Mock(region_name="eu-west-2")
    session.client.return_value = cloudformation
    return DeployedStack(session, name, Path("freshness.toml"))


OTHER = {"StackName": "other", "Outputs": [{"OutputKey": "EventBusName", "OutputValue": "other"}]}


STAGING, PRODUCTION = described("staging", "bus of staging"), described("CodatFreshness", "bus of production")


def test_a_stack_is_found_by_its_outputs_if_it_is_the_only_one_or_by_its_name() -> None:
    for stack in (stack_in(OTHER, STAGING), stack_in(STAGING, PRODUCTION, name="staging")):
        assert (stack.name, stack.outputs.event_bus_name) == ("staging", "bus of staging")


@pytest.mark.parametrize(
    ("stacks", "name", "message"),
    [
        ((STAGING, PRODUCTION), None, "choose one of CodatFreshness, staging with --stack"),
        ((OTHER,), None, "No stack of Codat Freshness in eu-west-2: use --region"),
        ((OTHER,), "staging", "No stack staging in eu-west-2: use --region"),
    ],
)
def test_if_there_is_no_stack_or_several_the_error_says_what_to_do(
    stacks: tuple[dict[str, Any], ...], name: str | None, message: str
) -> None:
    with pytest.raises(StackError, match=message):
        _ = stack_in(*stacks, name=name).outputs


QUEUES = "https://sqs.eu-west-2.amazonaws.com/123456789012/staging-Queue"
OUTPUTS = {
    **{field.alias or "": f"staging-{name}" for name, field in Outputs.model_fields.items()},
    "ApiUrl": "https://a1b2c3.execute-api.eu-west-2.amazonaws.com",
    "WebhookQueueUrl": f"{QUEUES}-1",
    "WebhookDeadLetterQueueUrl": f"{QUEUES}-2",
    "CodatApiKeySecret": "/staging/codat-api-key",
    "WebhookSigningSecret": "/staging/webhook-signing-secret",
    "KmsKey": "arn:aws:kms:eu-west-2:123456789012:key/0f1e",
}
RESOURCES = Resources(
    outputs=Outputs.model_validate(OUTPUTS), partition="aws", region="eu-west-2", log_groups=["staging-Logs"]
)
ONLY_EVERYWHERE = {
    "cloudformation:DescribeStacks",
    "lambda:GetAccountSettings",
    "lambda:ListEventSourceMappings",
    "scheduler:ListSchedules",
}
"""What IAM allows on every resource only, or what finds the stack."""


@pytest.mark.parametrize("role", Role)
def test_a_policy_names_nothing_that_a_stack_with_a_longer_name_may_have(role: Role) -> None:
    for statement in RESOURCES.policy(role)["Statement"]:
        for resource in statement["Resource"]:
            if resource == "*":
                assert set(statement["Action"]) == ONLY_EVERYWHERE
            else:
                assert resource.startswith("arn:aws:")
                assert ":eu-west-2:123456789012:" in resource
                assert "*" not in resource.replace("/index/*", "").removesuffix(":*").replace("/*", "")
                assert "staging-*" not in resource


def test_who_may_see_the_page_may_not_use_its_buttons() -> None:
    assert "staging-show_page_function" in json.dumps(RESOURCES.policy(Role.PAGE))
    assert "staging-act_on_page_function" not in json.dumps(RESOURCES.policy(Role.PAGE))
    assert "staging-act_on_page_function" in json.dumps(RESOURCES.policy(Role.BUTTONS))


def test_a_reader_changes_nothing_and_reads_no_secret() -> None:
    actions = {action for each in RESOURCES.policy(Role.READER)["Statement"] for action in each["Action"]}
    assert not [each for each in actions if each.split(":")[1].startswith(("Put", "Delete", "Invoke", "Send"))]
    assert "ssm:GetParameter" not in actions


@pytest.mark.parametrize("role", Role)
def test_who_reads_tables_or_secrets_may_decrypt_with_the_key_of_a_stack_that_has_one(role: Role) -> None:
    actions = {action for each in RESOURCES.policy(role)["Statement"] for action in each["Action"]}
    assert ("kms:Decrypt" in actions) == (role in (Role.READER, Role.SECRETS))
    without = replace(RESOURCES, outputs=Outputs.model_validate(OUTPUTS | {"KmsKey": ""}))
    assert "kms:" not in json.dumps(without.policy(role))


@pytest.mark.parametrize(
    ("given", "until"),
    [
        ("2026-12-24 18:00", "2026-12-24T18:00+00:00"),
        ("2026-12-24", "2026-12-24T00:00+00:00"),
        ("2026-12-24T18:00:00+02:00", "2026-12-24T16:00+00:00"),
        ("2026-12-24 18:00 America/New_York", "2026-12-24T23:00+00:00"),
        ("2h", "2026-11-23T14:00+00:00"),
        ("P1D", "2026-11-24T12:00+00:00"),
    ],
)
def test_the_end_of_a_pause_is_a_time_in_any_zone_or_a_duration(
    given: str, until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "clock", lambda: NOON)
    assert arguments.coming_time(given) == datetime.fromisoformat(until)


@pytest.mark.parametrize("given", ["yesterday", "", "18:00", "2026-12-24 18:00 Narnia", "2026-11-23 12:00", "0h"])
def test_what_is_no_coming_time_is_refused_with_an_example(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "clock", lambda: NOON)
    with pytest.raises(typer.BadParameter, match="expected a time"):
        arguments.coming_time(given)
