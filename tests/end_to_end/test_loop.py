"""The loop on a deployed stack, seen from outside: tables, webhooks, the bus, and the files for other tools."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from cli.fleet import Fleet, read_fleet
from freshness.domain.dataset import DatasetState, Trigger
from local.settings import Settings
from local.stack import RunningStack
from local.watch import nudged
from tests.end_to_end.conftest import dead_letters, files_with, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.usefixtures("domain_events")


@pytest.fixture(scope="module")
def fresh_fleet(stack: RunningStack) -> Iterator[Fleet]:
    """The fleet once every feed that can be fresh is."""

    deadline = time.monotonic() + 240
    with nudged(stack.target):
        while time.monotonic() < deadline:
            stack.processes.check()
            fleet = read_fleet(stack.target.store, stack.target.policy, datetime.now(UTC))
            if fleet.lines and not fleet.overdue:
                break
            time.sleep(0.5)
        yield fleet


def test_the_schedules_run_both_functions_without_anyone_else(stack: RunningStack) -> None:
    functions = stack.outputs.check_freshness_function, stack.outputs.queue_refreshes_function
    configurations = [boto3.client("lambda").get_function_configuration(FunctionName=name) for name in functions]
    groups = [configuration["LoggingConfig"]["LogGroup"] for configuration in configurations]
    logs: Any = boto3.client("logs")
    wait_for(lambda: all(logs.describe_log_streams(logGroupName=name)["logStreams"] for name in groups), seconds=120)


def test_every_feed_that_can_be_fresh_becomes_fresh(fresh_fleet: Fleet) -> None:
    assert len(fresh_fleet.lines) > 50
    assert [(line.company_name, line.data_type, line.state, line.age) for line in fresh_fleet.overdue] == []


def test_what_cannot_be_fresh_is_told_with_the_reason(fresh_fleet: Fleet) -> None:
    reasons = " ".join(line.obstacle for line in fresh_fleet.hindered)
    assert "must relink" in reasons
    assert "http" in reasons


@pytest.mark.usefixtures("fresh_fleet")
def test_each_refresh_is_kept_with_its_dataset_who_asked_for_it_and_the_states_seen(
    stack: RunningStack, fresh_fleet: Fleet
) -> None:
    datasets = [
        dataset
        for company_id in {line.company_id for line in fresh_fleet.lines}
        for dataset in stack.target.store.datasets(company_id)
    ]
    asked_for = [dataset for dataset in datasets if dataset.trigger is Trigger.PROMISE]
    assert asked_for
    assert all(dataset.dataset_id and dataset.states for dataset in asked_for)
    completed = [dataset for dataset in asked_for if DatasetState.COMPLETE in dataset.states]
    assert len(completed) > len(asked_for) / 2
    assert all(dataset.ended_at for dataset in completed)
    assert any(len(dataset.states) > 1 for dataset in completed)


@pytest.mark.usefixtures("fresh_fleet")
def test_company_data_refreshed_arrives_on_the_bus(domain_events: "tuple[SQSClient, str]", stack: RunningStack) -> None:
    sqs, url = domain_events
    message = wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), seconds=10)[0]
    event: dict[str, Any] = json.loads(message["Body"])
    assert event["detail-type"] == "Company data refreshed"
    assert {"companyId", "connectionId", "dataType", "refreshedAt", "recordsModified"} <= event["detail"].keys()


def test_a_forged_webhook_gets_401_and_is_not_queued(stack: RunningStack) -> None:
    forged = {
        "webhook-id": "msg_forged",
        "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
        "webhook-signature": "v1,Zm9yZ2Vk",
    }
    response = httpx.post(stack.outputs.webhook_url, headers=forged, json={"eventType": "read.completed"})
    assert response.status_code == httpx.codes.UNAUTHORIZED
    assert response.content == b""


def test_no_webhook_ends_in_the_dead_letter_queue(fresh_fleet: Fleet, stack: RunningStack) -> None:
    assert dead_letters(stack) == "0"


def test_the_written_files_are_enough_for_another_tool_to_reach_the_stack(
    stack: RunningStack, settings: Settings
) -> None:
    outputs = json.loads((settings.local_folder / "outputs.json").read_text())
    assert outputs["WebhookUrl"] == stack.outputs.webhook_url
    program = f"import boto3; print(boto3.client('dynamodb').describe_table(TableName='{outputs['FeedsTable']}'))"
    command = f". {settings.local_folder / 'env'} && exec {sys.executable} -c {shlex.quote(program)}"
    told = subprocess.run(["sh", "-c", command], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert "ACTIVE" in told.stdout, told.stderr


def test_datasets_expire(stack: RunningStack) -> None:
    answer = boto3.client("dynamodb").describe_time_to_live(TableName=stack.outputs.datasets_table)
    assert answer["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    assert answer["TimeToLiveDescription"]["AttributeName"] == "expires_at"


@pytest.mark.usefixtures("fresh_fleet")
def test_the_secrets_are_in_no_log_and_no_template(stack: RunningStack, settings: Settings) -> None:
    assert "CodatFreshness.template.json" in files_with("CODAT_API_KEY_SECRET", settings.local_folder)
    # Only `env` holds the key of the sandbox, for people to try it with.
    assert files_with(stack.codat.api_key, settings.local_folder).splitlines() == [str(settings.local_folder / "env")]
    assert files_with(stack.codat.signing_secret, settings.local_folder) == ""
