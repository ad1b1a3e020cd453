"""The examples of `docs/ensure-fresh.md`."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import httpx
import pytest
from typer.testing import CliRunner

from cli.commands import app
from freshness.app.api.api import openapi
from freshness.app.services import Services
from freshness.domain.companies.company import Company
from tests.end_to_end.conftest import wait_for
from tests.integration.deployed import ROOT, Deployed
from tests.integration.test_serve_api import TYPES, api, company, problem

__all__ = ["api", "company"]

MANUAL: Path = ROOT / "docs" / "ensure-fresh.md"


def blocks(language: str) -> list[str]:
    """Return the examples in a language."""
    return re.findall(rf"```{language}\n(.*?)```", MANUAL.read_text(), flags=re.DOTALL)


class StateMachine:
    """The state machine of the manual in the local AWS, which has no integration of API Gateway.

    A queue takes its place, from which the body of the call is read, and then posted by the test.
    """

    def __init__(self) -> None:
        self._client, self._sqs = boto3.client("stepfunctions"), boto3.client("sqs")
        self._queue = self._sqs.create_queue(QueueName=f"calls-{uuid4().hex}")["QueueUrl"]
        [source] = blocks("json")
        machine = json.loads(source)
        ensure = machine["States"]["Ensure"]
        ensure["Resource"] = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
        ensure["Parameters"] = {"QueueUrl": self._queue, "MessageBody": ensure["Parameters"]["RequestBody"]}
        made = self._client.create_state_machine(
            name=f"decide-{uuid4().hex}", definition=json.dumps(machine), roleArn="arn:aws:iam::000000000000:role/any"
        )
        self._arn = made["stateMachineArn"]

    def start(self) -> tuple[str, dict[str, Any]]:
        """Start it, and return the execution with the body that it sends."""
        execution: str = self._client.start_execution(stateMachineArn=self._arn)["executionArn"]
        receive = partial(self._sqs.receive_message, QueueUrl=self._queue, WaitTimeSeconds=5)
        [message] = wait_for(lambda: receive().get("Messages"), seconds=60)
        return execution, json.loads(message["Body"])

    def ended(self, execution: str) -> Any:
        """Return an execution that has ended."""

        def described() -> Any:
            described = self._client.describe_execution(executionArn=execution)
            return None if described["status"] == "RUNNING" else described

        return wait_for(described, seconds=60)


@pytest.fixture(scope="module")
def state_machine(aws: None) -> StateMachine:
    """Return the state machine of the manual."""
    return StateMachine()


def test_the_python_example_ensures_fresh_data(
    api: httpx.Client, company: Company, deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    [source] = blocks("python")

    names = {"api_url": str(api.base_url), "company_id": company.company_id}
    exec(source.replace("codat_freshness.", "freshness."), names)  # noqa: S102 - the manual's own example

    printed = capsys.readouterr().out
    for feed in deployed.feeds(company, TYPES):
        assert f"\n{feed.data_type} {feed.connection_id} 2" in f"\n{printed}"


def test_the_state_machine_calls_a_route_of_the_api() -> None:
    parameters = json.loads(blocks("json")[0])["States"]["Ensure"]["Parameters"]

    [path] = re.findall(r"Format\('([^']*)'", parameters["Path.$"])
    assert "post" in openapi()["paths"][path.replace("{}", "{companyId}")]


def test_the_state_machine_goes_on_with_the_results_once_data_is_fresh(
    api: httpx.Client, company: Company, state_machine: StateMachine
) -> None:
    execution, body = state_machine.start()

    asked = api.post(f"/companies/{company.company_id}/ensure-fresh", json=body | {"maxAge": "PT10M"})
    assert asked.status_code == 202
    api.get(asked.headers["Location"], headers={"Prefer": "wait=15"})

    ended = state_machine.ended(execution)
    assert ended["status"] == "SUCCEEDED", ended
    output = json.loads(ended["output"])
    assert output["requestId"] == asked.json()["id"]
    assert {(each["dataType"], each["state"]) for each in output["dataTypes"]} == {(each, "fresh") for each in TYPES}
    assert body["taskToken"] not in ended["output"]


def test_the_state_machine_goes_on_at_once_with_data_that_is_fresh(
    api: httpx.Client, company: Company, state_machine: StateMachine
) -> None:
    execution, body = state_machine.start()

    api.post(f"/companies/{company.company_id}/ensure-fresh", json=body | {"maxAge": "PT2H"})

    assert state_machine.ended(execution)["status"] == "SUCCEEDED"


def test_the_state_machine_fails_if_a_data_type_cannot_be_read_in_time(
    api: httpx.Client, company: Company, deployed: Deployed, state_machine: StateMachine
) -> None:
    execution, body = state_machine.start()

    deployed.let_syncs_take(timedelta(minutes=5))
    late = {"maxAge": "PT10M", "within": 2, "onLate": "fail"}
    asked = api.post(f"/companies/{company.company_id}/ensure-fresh", json=body | late)
    assert asked.status_code == 202, asked.text
    deployed.ahead += timedelta(minutes=1)
    deployed.queue()

    ended = state_machine.ended(execution)
    assert (ended["status"], ended.get("error")) == ("FAILED", "FreshnessNotEnsured")


def test_a_stack_that_may_end_no_tasks_refuses_a_token(
    api: httpx.Client, company: Company, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Services, "deployed", lambda: replace(deployed.services(), tasks=None))
    body = {"dataTypes": TYPES, "maxAge": "PT10M", "within": "PT10M", "taskToken": "t"}
    problem(api.post(f"/companies/{company.company_id}/ensure-fresh", json=body), 422, "tasks-off")


def test_the_command_has_the_options_of_the_example() -> None:
    [command] = blocks("sh")
    shown = CliRunner().invoke(app, ["ensure", "--help"], env={"COLUMNS": "200"}).stdout

    for option in re.findall(r"--[a-z-]+", command):
        assert option in shown


def test_every_problem_is_in_the_manual() -> None:
    app = ROOT / "functions" / "freshness" / "app"
    sources = chain((app / "ensure").glob("*.py"), (app / "api").glob("*.py"))
    kinds = {
        found
        for path in sources
        for found in re.findall(r"(?:Problem|__init__)\(\s*\d{3},\s*\"([a-z-]+)\"", path.read_text())
    }

    assert len(kinds) > 10
    assert kinds == set(
        re.findall(r"`([a-z-]+)`", " ".join(re.findall(r"\| [45]\d\d \|([^|]*)\|", MANUAL.read_text())))
    )
