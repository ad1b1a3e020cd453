"""A second stack, deployed beside the first to the same account and region, for another account at Codat."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from standardwebhooks import Webhook

from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings as SandboxSettings
from freshness.domain.feeds.feed import Feed
from local import deploy
from local.codat import Codat
from local.settings import ROOT, Settings
from local.stack import EVERY_MINUTE, RunningStack
from local.watch import running_ticks
from stack_access.outputs import Outputs
from stack_access.stack import DeployedStack, clock
from stack_access.ticks import run_tick, tick_client
from tests.end_to_end.conftest import queue_of_events, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

NAME = "staging"
LEASES = ("check_freshness", "queue_refreshes")
SIGNING_SECRET = "whsec_c3RhZ2luZ3N0YWdpbmdzdGFnaW5n"
POLICY = """
[codat]
account = "Codat sandbox"

[default]
fresh_within = "1 hour"
warn_after = "2 hours"
"""


@pytest.fixture(scope="module")
def other_codat() -> Iterator[RunningSandbox]:
    """The Codat of the second stack, with two companies of its own."""
    settings = SandboxSettings(seed=2, companies=2, never_synced=1, needs_relink=0, fails_first=0, machine_offline=0)
    with running_sandbox(settings, "key-of-staging", SIGNING_SECRET) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def staging(
    stack: RunningStack, other_codat: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeployedStack]:
    """The second stack, with a policy, secrets and schedules of its own."""
    folder: Path = tmp_path_factory.mktemp(NAME)
    policy = folder / "staging.toml"
    policy.write_text(POLICY)
    outputs = deploy_staging(stack, other_codat, policy)
    deploy.put_secrets(outputs, other_codat.api_key, SIGNING_SECRET)
    (folder / "outputs.json").write_text(outputs.model_dump_json(by_alias=True))
    deployed = DeployedStack(stack.deployed.session, NAME, policy, stack.deployed.endpoint, folder / "outputs.json")
    codat = Codat(other_codat.base_url, other_codat.api_key, SIGNING_SECRET, is_sandbox=True)
    codat.register_webhook(outputs.webhook_url)
    yield deployed
    cloudformation = boto3.client("cloudformation")
    cloudformation.delete_stack(StackName=NAME)
    # The tests of other modules rely on that there is one stack.
    wait_for(lambda: not _exists(cloudformation, NAME), seconds=60)


@pytest.fixture(scope="module")
def before_resume(staging: DeployedStack) -> list[Feed]:
    """The second stack's feeds after ticks that ran before it was resumed."""
    client = tick_client(staging)

    def checked() -> list[Feed]:
        # A tick is skipped while a scheduled one runs.
        run_tick(client, staging.outputs.check_freshness_function)
        return list(staging.tables.feeds.scan())

    wait_for(checked, seconds=60)
    run_tick(client, staging.outputs.queue_refreshes_function)
    feeds = list(staging.tables.feeds.scan())
    resumed = freshness("--stack", NAME, "resume")
    assert resumed.returncode == 0, resumed.stderr
    return feeds


def deploy_staging(stack: RunningStack, other_codat: RunningSandbox, policy: Path) -> Outputs:
    context = {"local": "true", "name": NAME, "policy": str(policy), "codat_base_url": other_codat.base_url}
    schedules = {"check_schedule": EVERY_MINUTE, "queue_schedule": EVERY_MINUTE}
    return deploy.deploy(stack.processes, context | schedules, policy.parent)


def _exists(cloudformation: Any, name: str) -> bool:
    summaries = cloudformation.list_stacks()["StackSummaries"]
    return any(each["StackName"] == name and each["StackStatus"] != "DELETE_COMPLETE" for each in summaries)


@pytest.fixture(scope="module")
def events(staging: DeployedStack) -> "tuple[SQSClient, str]":
    """A queue that receives everything of the second stack's bus."""
    return queue_of_events("events-of-staging", staging.outputs.event_bus_name, {"source": ["codat-freshness"]})


@pytest.fixture(scope="module")
def companies(
    stack: RunningStack, staging: DeployedStack, before_resume: list[Feed], events: "tuple[SQSClient, str]"
) -> Iterator[set[str]]:
    """The ids of the second stack's companies, all of whose data it read while the first stack's leases were held."""

    def are_read() -> bool:
        fleet = staging.queries.fleet(clock())
        return bool(fleet.feeds) and not fleet.overdue

    with running_ticks(stack.deployed):
        wait_for(lambda: list(stack.tables.companies.scan()), seconds=120)
    control, until = stack.tables.control, clock() + timedelta(minutes=10)
    for lease in LEASES:
        wait_for(partial(control.acquire, lease, "a test", until, clock()), seconds=60)
    with running_ticks(staging):
        wait_for(are_read, seconds=240)
    yield {company.company_id for company in staging.tables.companies.scan()}
    for lease in LEASES:
        control.release(lease, "a test")


def received(queue: "tuple[SQSClient, str]") -> list[dict[str, Any]]:
    """Return all events in a queue."""
    sqs, url = queue
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"]) for message in messages]
    return found


def services(stack: DeployedStack) -> set[str]:
    """Return the dimension of all metrics that the function emitted which receives the webhooks of a stack."""
    group, found = stack.log_group(stack.outputs.receive_webhook_function), set[str]()
    for page in boto3.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group):
        records = [event["message"] for event in page["events"] if '"_aws"' in event["message"]]
        found |= {json.loads(record)["service"] for record in records}
    return found


def send(stack: DeployedStack, secret: str) -> int:
    """Send a webhook that is signed with a secret to a stack, and return the status of the response."""
    now, body = datetime.now(UTC), "{}"
    signature = Webhook(secret).sign("m", now, body)
    timestamp = str(int(now.timestamp()))
    headers = {"webhook-id": "m", "webhook-timestamp": timestamp, "webhook-signature": signature}
    return httpx.post(stack.outputs.webhook_url, headers=headers, content=body, timeout=60).status_code


def freshness(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line on the account of both stacks."""
    return subprocess.run([ROOT / "freshness", *arguments], capture_output=True, text=True, check=False)


def test_a_new_stack_checks_and_queues_nothing_until_it_is_resumed(before_resume: list[Feed]) -> None:
    assert any(feed.due_at and feed.due_at <= clock() for feed in before_resume)
    assert not [feed for feed in before_resume if feed.in_flight or feed.last_dataset]


def test_each_stack_reads_the_companies_of_its_own_codat_while_the_other_holds_its_leases(
    stack: RunningStack, other_codat: RunningSandbox, companies: set[str]
) -> None:
    assert companies == {company.id for company in other_codat.sandbox.backend.companies()}
    assert len(companies) == 2
    assert companies.isdisjoint(company.company_id for company in stack.tables.companies.scan())


def test_the_events_of_a_stack_are_on_its_own_bus(
    companies: set[str], events: "tuple[SQSClient, str]", domain_events: "tuple[SQSClient, str]"
) -> None:
    of_staging = wait_for(lambda: received(events), seconds=10)
    assert {event["detail"]["companyId"] for event in of_staging} == companies
    assert companies.isdisjoint(event["detail"]["companyId"] for event in received(domain_events))


def test_a_stack_accepts_only_webhooks_that_are_signed_with_its_own_secret(
    stack: RunningStack, staging: DeployedStack
) -> None:
    assert send(staging, stack.codat.signing_secret) == httpx.codes.UNAUTHORIZED
    assert send(staging, SIGNING_SECRET) == httpx.codes.ACCEPTED
    assert send(stack.deployed, SIGNING_SECRET) == httpx.codes.UNAUTHORIZED


def test_the_metrics_of_a_stack_have_its_name(stack: RunningStack, staging: DeployedStack) -> None:
    for each, name in ((staging, NAME), (stack.deployed, "CodatFreshness")):
        assert send(each, "whsec_Zm9yZ2VkZm9yZ2VkZm9yZ2VkZm9yZ2Vk") == httpx.codes.UNAUTHORIZED
        assert wait_for(partial(services, each), seconds=30) == {name}


def test_the_command_line_says_how_to_choose_a_stack_and_then_shows_its_companies(
    stack: RunningStack, companies: set[str]
) -> None:
    undecided = freshness("status")
    assert undecided.returncode == 1
    assert "choose one of CodatFreshness, staging with --stack" in undecided.stderr

    chosen = freshness("--stack", NAME, "status", "--json")
    assert json.loads(chosen.stdout)["companies"] == len(companies), chosen.stderr
    default = freshness("--stack", "CodatFreshness", "status", "--json")
    assert json.loads(default.stdout)["companies"] == len(list(stack.tables.companies.scan())), default.stderr


def test_a_deployment_of_another_policy_wins_over_a_pushed_one_and_says_so_before(
    stack: RunningStack, staging: DeployedStack, other_codat: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    pushed = tmp_path / "pushed.toml"
    pushed.write_text(POLICY.replace('"1 hour"', '"2 hours"').replace('warn_after = "2 hours"', ""))
    push = freshness("--stack", NAME, "policy", "push", str(pushed), "--yes")
    assert push.returncode == 0, push.stderr
    staging.policy_file.write_text(POLICY.replace('"1 hour"', '"90 minutes"'))

    deploy_staging(stack, other_codat, staging.policy_file)
    said = (settings.run_folder / "logs" / "cdk-deploy.log").read_text()
    assert "this replaces the policy in force by staging.toml: version 2, which arn:aws:" in said
    client = tick_client(staging)

    def versions() -> list[dict[str, Any]] | None:
        run_tick(client, staging.outputs.check_freshness_function)
        known: list[dict[str, Any]] = json.loads(freshness("--stack", NAME, "policy", "history", "--json").stdout)
        return known if known[0]["how"] == "deployed" and len(known) == 3 else None

    assert [each["how"] for each in wait_for(versions, seconds=60)] == ["deployed", "pushed", "deployed"]
    assert freshness("--stack", NAME, "policy", "show").stdout == staging.policy_file.read_text()
