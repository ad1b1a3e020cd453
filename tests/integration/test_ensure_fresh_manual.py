"""The examples of `docs/ensure-fresh.md`."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import httpx
import pytest
from typer.testing import CliRunner

from cli.commands import app
from freshness.app.ensure.api import openapi
from freshness.app.ensure.models import EnsureFreshBody
from freshness.domain.company import Company
from freshness.domain.freshness_request import FreshnessRequest
from freshness.domain.notifications import request_ended
from tests.end_to_end.conftest import wait_for
from tests.integration.deployed import ROOT, Deployed
from tests.integration.test_serve_api import TYPES, api, company, ensure, feeds, read_an_hour_ago

__all__ = ["api", "company"]

MANUAL: Path = ROOT / "docs" / "ensure-fresh.md"


def blocks(language: str) -> list[str]:
    """Return the examples in a language."""
    return re.findall(rf"```{language}\n(.*?)```", MANUAL.read_text(), flags=re.DOTALL)


class StateMachines:
    """The state machines of the manual and their rule, in the local AWS, which has no integration of API Gateway."""

    def __init__(self) -> None:
        self._client = boto3.client("stepfunctions")
        self._first, pattern, second = blocks("json")
        waiting = json.loads(self._first)["States"]["Wait for the event"]["Parameters"]["TableName"]
        boto3.client("dynamodb").create_table(
            TableName=waiting,
            KeySchema=[{"AttributeName": "requestId", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "requestId", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        role = "arn:aws:iam::000000000000:role/any"
        continues = self._client.create_state_machine(name="continue", definition=second, roleArn=role)
        events = boto3.client("events")
        events.put_rule(Name="ended", EventPattern=pattern)
        events.put_targets(
            Rule="ended", Targets=[{"Id": "continue", "Arn": continues["stateMachineArn"], "RoleArn": role}]
        )

    def start(self, response: httpx.Response) -> str:
        """Start the state machine of a caller whose call had this response."""
        machine = json.loads(self._first)
        ensure = machine["States"]["Ensure"]
        machine["States"]["Ensure"] = {
            "Type": "Pass",
            "Result": {"ResponseBody": response.json(), "StatusCode": response.status_code},
            "OutputPath": ensure["OutputPath"],
            "Next": ensure["Next"],
        }
        made = self._client.create_state_machine(
            name=f"caller-{uuid4().hex}",
            definition=json.dumps(machine),
            roleArn="arn:aws:iam::000000000000:role/any",
        )
        execution: str = self._client.start_execution(stateMachineArn=made["stateMachineArn"])["executionArn"]
        return execution

    def output(self, execution: str) -> Any:
        """Return with what an execution ended."""

        def ended() -> Any:
            described = self._client.describe_execution(executionArn=execution)
            return None if described["status"] == "RUNNING" else described

        described = wait_for(ended, seconds=60)
        assert described["status"] == "SUCCEEDED", described
        return json.loads(described["output"])


@pytest.fixture(scope="module")
def state_machines(aws: None) -> StateMachines:
    """Return the state machines of the manual."""
    return StateMachines()


def test_the_python_example_ensures_fresh_data(api: httpx.Client, company: Company, deployed: Deployed) -> None:
    for feed in deployed.tables.feeds.of_company(company.company_id):
        if feed.data_type in TYPES:
            deployed.tables.feeds.update(feed, read_an_hour_ago)
    [source] = blocks("python")
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - the manual's own example

    api_url = str(api.base_url).rstrip("/")
    result = names["ensure_fresh"](api_url, company.company_id, TYPES)

    assert result["done"] is True
    assert {each["state"] for each in result["dataTypes"]} == {"fresh"}
    signed = names["call"]("GET", f"{api_url}/openapi.json").request.headers["Authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256")
    assert "/execute-api/aws4_request" in signed


def test_the_first_state_of_the_state_machine_calls_a_route_of_the_api() -> None:
    first = json.loads(blocks("json")[0])["States"]["Ensure"]["Parameters"]

    body = EnsureFreshBody.model_validate(first["RequestBody"])
    assert body.data_types == ("invoices", "balanceSheet")
    [path] = re.findall(r"Format\('([^']*)'", first["Path.$"])
    assert "post" in openapi()["paths"][path.replace("{}", "{companyId}")]


def test_the_state_machines_continue_with_the_event_of_the_request(
    api: httpx.Client, company: Company, deployed: Deployed, state_machines: StateMachines
) -> None:
    for feed in feeds(deployed, company, TYPES):
        deployed.tables.feeds.update(feed, read_an_hour_ago)
    asked = ensure(api, company.company_id)
    assert asked.status_code == 202
    execution = state_machines.start(asked)

    # A request of somebody else, whose event is published too.
    ensure(api, company.company_id, Prefer="wait=15")
    api.get(asked.headers["Location"], headers={"Prefer": "wait=15"})
    output = state_machines.output(execution)

    assert output["requestId"] == asked.json()["id"]
    assert {(each["dataType"], each["state"]) for each in output["dataTypes"]} == {(each, "fresh") for each in TYPES}


def test_the_state_machine_goes_on_at_once_with_data_that_is_fresh(
    api: httpx.Client, company: Company, state_machines: StateMachines
) -> None:
    asked = ensure(api, company.company_id, {"maxAge": "PT2H"})

    output = state_machines.output(state_machines.start(asked))

    assert {(each["dataType"], each["state"]) for each in output["dataTypes"]} == {(each, "fresh") for each in TYPES}


def test_the_event_pattern_matches_the_events_of_a_request() -> None:
    pattern = json.loads(blocks("json")[1])
    now = datetime.now(UTC)
    request = FreshnessRequest(
        request_id="REQUEST_ID", company_id="c", data_types=("bills",), not_before=now, deadline=now, accepted_at=now
    )
    event = request_ended(request.with_results([], Company(company_id="c"), now))

    assert event.detail_type in pattern["detail-type"]
    assert event.detail()["requestId"] == "REQUEST_ID"
    assert "connectionId" not in event.detail()
    assert [each["state"] for each in event.detail()["dataTypes"]] == ["failed"]


def test_the_command_has_the_options_of_the_example() -> None:
    [command] = blocks("sh")
    shown = CliRunner().invoke(app, ["ensure", "--help"], env={"COLUMNS": "200"}).stdout

    for option in re.findall(r"--[a-z-]+", command):
        assert option in shown


def test_every_problem_is_in_the_manual() -> None:
    sources = (ROOT / "functions" / "freshness" / "app" / "ensure").glob("*.py")
    kinds = {
        found
        for path in sources
        for found in re.findall(r"(?:Problem|__init__)\(\s*\d{3},\s*\"([a-z-]+)\"", path.read_text())
    }

    assert len(kinds) > 10
    assert kinds == set(
        re.findall(r"`([a-z-]+)`", " ".join(re.findall(r"\| [45]\d\d \|([^|]*)\|", MANUAL.read_text())))
    )
