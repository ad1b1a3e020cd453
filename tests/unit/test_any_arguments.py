"""Every command with any arguments, over tables in memory and an AWS that refuses everything else."""

import json
import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer.main
from botocore.exceptions import EndpointConnectionError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.server import MCPServer
from typer.testing import CliRunner

from cli.commands import FAILED, WRONG, app
from cli.ensure import NOT_IN_TIME
from cli.output import with_json_keys
from estimate.memory_dynamodb import tables_in_memory
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.clean_text import HIDDEN
from freshness.domain.companies.company import Company
from stack_access.outputs import Outputs
from stack_access.page_server import PageServer
from stack_access.stack import DeployedStack
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
    monkeypatch.setattr(MCPServer, "run", lambda *_: None)
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
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
