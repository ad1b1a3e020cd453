"""The whole loop on a deployed stack: tables, webhooks, the event bus, and the files for other tools."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from freshness.app.reading.views import FleetView
from freshness.domain.datasets.dataset import DatasetState, Trigger, has_ended
from local import deploy
from local.errors import LocalRunError
from local.settings import Settings
from local.stack import RunningStack
from local.watch import running_ticks
from stack_access.stack import clock
from tests.end_to_end.conftest import answered, dead_letters, files_with, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.usefixtures("domain_events")


@pytest.fixture(scope="module")
def fresh_fleet(stack: RunningStack) -> Iterator[FleetView]:
    """The fleet once every feed that can be fresh is."""
    seen: list[FleetView] = []

    def is_fresh() -> bool:
        stack.processes.check()
        seen.append(stack.queries.fleet(clock()))
        return bool(seen[-1].feeds) and not seen[-1].overdue

    with running_ticks(stack.deployed) as ticks:
        wait_for(is_fresh)
    ticks.join()
    yield seen[-1]


def test_every_feed_that_can_be_fresh_becomes_fresh(fresh_fleet: FleetView) -> None:
    assert len(fresh_fleet.feeds) > 50
    assert [(feed.company_name, feed.data_type, feed.state, feed.age) for feed in fresh_fleet.overdue] == []


def test_a_feed_that_cannot_be_fresh_has_the_reason_and_a_link_that_is_read_from_codat(
    stack: RunningStack, fresh_fleet: FleetView
) -> None:
    lapsed = [feed for feed in fresh_fleet.obstructed if "has lapsed" in feed.obstacle]
    company = stack.queries.find_company(lapsed[0].company_id)
    [link, *_] = stack.deployed.links(company, stack.queries.company(company, clock()))
    assert link.is_live
    assert link.url.startswith("http")


@pytest.mark.usefixtures("fresh_fleet")
def test_each_refresh_is_recorded_with_its_dataset_trigger_end_and_times(
    stack: RunningStack, fresh_fleet: FleetView
) -> None:
    companies = {feed.company_id for feed in fresh_fleet.feeds}
    datasets = [dataset for company_id in companies for dataset in stack.tables.datasets.of_company(company_id)]
    assert all(has_ended(dataset.state) == (dataset.ended_at is not None) for dataset in datasets)
    ours = [dataset for dataset in datasets if dataset.trigger is Trigger.PROMISE and has_ended(dataset.state)]
    assert ours
    assert all(dataset.dataset_id for dataset in ours)
    assert all(dataset.ended_at and dataset.requested_at <= dataset.ended_at for dataset in ours)
    completed = [dataset for dataset in ours if dataset.state == DatasetState.COMPLETE]
    assert len(completed) > len(ours) / 2
    assert any(dataset.records_modified is not None for dataset in completed)


def test_explain_shows_every_dataset_that_is_in_flight_or_has_ended(
    stack: RunningStack, fresh_fleet: FleetView
) -> None:
    for company_id in {feed.company_id for feed in fresh_fleet.feeds}:
        company = stack.queries.find_company(company_id)
        feeds = stack.queries.find_feeds(company)
        in_flight = {feed.in_flight.dataset_id for feed in feeds if feed.in_flight and feed.in_flight.dataset_id}
        ended = {dataset.dataset_id for dataset in stack.tables.datasets.of_company(company_id)}
        shown = {
            dataset.dataset_id
            for data_type in {feed.data_type for feed in feeds}
            for explanation in stack.queries.explain(company, data_type, clock())
            for dataset in explanation.datasets
        }
        assert in_flight | ended <= shown


@pytest.mark.usefixtures("fresh_fleet")
def test_company_data_refreshed_is_published_on_the_bus(
    domain_events: "tuple[SQSClient, str]", stack: RunningStack
) -> None:
    sqs, url = domain_events
    message = wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))[0]
    event: dict[str, Any] = json.loads(message["Body"])
    assert event["detail-type"] == "Company data refreshed"
    assert {"companyId", "connectionId", "dataType", "refreshedAt", "asOf", "recordsModified", "trigger"} <= event[
        "detail"
    ].keys()


def test_a_forged_webhook_gets_401_and_is_not_queued(stack: RunningStack) -> None:
    forged = {
        "webhook-id": "msg_forged",
        "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
        "webhook-signature": "v1,Zm9yZ2Vk",
    }
    url, body = stack.outputs.webhook_url, {"eventType": "read.completed"}
    response = answered(lambda: httpx.post(url, headers=forged, json=body, timeout=60))
    assert response.status_code == httpx.codes.UNAUTHORIZED
    assert response.content == b""


def test_no_webhook_ends_in_the_dead_letter_queue(fresh_fleet: FleetView, stack: RunningStack) -> None:
    assert dead_letters(stack) == "0"


def test_another_tool_can_reach_the_stack_with_the_written_files(stack: RunningStack, settings: Settings) -> None:
    outputs = json.loads((settings.run_folder / "outputs.json").read_text())
    assert outputs["WebhookUrl"] == stack.outputs.webhook_url
    program = f"import boto3; print(boto3.client('dynamodb').describe_table(TableName='{outputs['FeedsTable']}'))"
    command = f". {settings.run_folder / 'env'} && exec {sys.executable} -c {shlex.quote(program)}"
    run = subprocess.run(["sh", "-c", command], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert "ACTIVE" in run.stdout, run.stderr


def test_datasets_expire(stack: RunningStack) -> None:
    response = boto3.client("dynamodb").describe_time_to_live(TableName=stack.outputs.datasets_table)
    assert response["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    assert response["TimeToLiveDescription"]["AttributeName"] == "expires_at"


@pytest.mark.usefixtures("fresh_fleet")
def test_the_secrets_are_in_no_log_and_no_template(stack: RunningStack, settings: Settings) -> None:
    name, key, secret = "CODAT_API_KEY_SECRET", stack.codat.api_key, stack.codat.signing_secret
    found = files_with(name, key, secret, below=settings.local_folder)
    assert [path for path in found[name] if path.endswith("CodatFreshness.template.json")]
    # Only `env` contains the key of the sandbox, so that people can call it.
    assert found[key] == {str(settings.run_folder / "env")}
    assert found[secret] == set()


def test_the_functions_run_with_their_roles_because_the_local_aws_enforces_policies(stack: RunningStack) -> None:
    iam = boto3.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    nobody = boto3.client(
        "dynamodb", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
    )

    with pytest.raises(ClientError, match="not authorized"):
        nobody.scan(TableName=stack.outputs.feeds_table)


def test_the_error_for_a_failed_deploy_includes_the_output_of_the_cdk(stack: RunningStack, tmp_path: Path) -> None:
    with pytest.raises(LocalRunError, match="cdk deploy failed") as raised:
        deploy.deploy(stack.processes, {"check_schedule": "hourly"}, tmp_path)
    assert "check_schedule" in raised.value.details
