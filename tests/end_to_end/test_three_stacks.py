"""Three stacks in one account and region, each for another account at Codat.

Beside the first, `staging` is deployed from an empty folder with nothing of ours but the wheels, on the sandbox of the
installed command; and the example of a lender.
"""

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest

from codat_sandbox.middleware import authorization
from codat_sandbox.server import running_sandbox
from codat_sandbox.settings import Settings as SandboxSettings
from freshness.domain.feeds.feed import Feed
from local import deploy
from local.codat import Codat
from local.processes import free_port
from local.settings import ROOT, Settings
from local.stack import RunningStack
from local.watch import running_ticks
from stack_access.stack import DeployedStack, clock
from tests.end_to_end import lender as example
from tests.end_to_end.conftest import is_due, queue_of_events, received, send_webhook, wait_for
from tests.end_to_end.lender import Lender, deploy_lender
from tests.packaging.conftest import built, install

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

NAME = "staging"
LEASES = ("check_freshness", "queue_refreshes")
SIGNING_SECRET = "whsec_c3RhZ2luZ3N0YWdpbmdzdGFnaW5n"
LENDERS_SECRET = "whsec_bGVuZGVyc2xlbmRlcnNsZW5kZXJz"
COMPANIES = {
    "companies": 2,
    "needs_relink": 0,
    "fails_first": 0,
    "machine_offline": 0,
    # Reads that begin together end together: one webhook reports them, and few functions start.
    "sync_time_min": 2,
    "sync_time_max": 2,
}
POLICY = """
[codat]
account = "Codat sandbox"

[default]
fresh_within = "1 hour"
warn_after = "2 hours"
"""
APP = """\
from aws_cdk import App, CliCredentialsStackSynthesizer, Stack
from codat_freshness.infra.construct import CodatFreshness
from codat_freshness.infra.settings import Settings

app = App()
stack = Stack(app, "staging", synthesizer=CliCredentialsStackSynthesizer())
settings = Settings(local=True, codat_base_url=app.node.get_context("codat_base_url"))
CodatFreshness(stack, "Default", policy="staging.toml", settings=settings)
app.synth()
"""
PROGRAM = """
import asyncio, sys
from codat_freshness.client import AsyncFreshnessClient, FreshnessClient

async def age(api_url, company_id, data_type):
    async with AsyncFreshnessClient(api_url) as client:
        known = await client.freshness(company_id)
    return max(each.age for each in known.data_types if each.data_type == data_type)

api_url, company_id, data_type = sys.argv[1:]
with FreshnessClient(api_url) as client:
    result = client.ensure_fresh(company_id, [data_type], max_age="1s", within="5m")
as_of = result.raise_if_not_fresh().as_of(data_type)
print(as_of.isoformat(), asyncio.run(age(api_url, company_id, data_type)).total_seconds())
"""


@dataclass(frozen=True, slots=True)
class Empty:
    """A folder without a clone, and an environment with the wheels alone."""

    folder: Path
    environment: Path

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an installed command there, on the account of all stacks."""
        program = self.environment / "bin" / command
        return subprocess.run([program, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Empty:
    """A folder with nothing but the policy and an app of ten lines."""
    folder: Path = tmp_path_factory.mktemp(NAME)
    wheels = [built(project, tmp_path_factory.mktemp("wheel")) for project in (ROOT, ROOT / "codat-sandbox")]
    (folder / "app.py").write_text(APP)
    (folder / "cdk.json").write_text('{"app": "python app.py"}')
    (folder / "staging.toml").write_text(POLICY)
    return Empty(folder, install(tmp_path_factory.mktemp("environment"), *wheels))


@pytest.fixture(scope="module")
def other_codat(stack: RunningStack, empty: Empty) -> Codat:
    """The Codat of the second stack, with two companies of its own."""
    port, key = free_port(), "key-of-staging"
    environment = os.environ | {"SANDBOX_API_KEY": key, "SANDBOX_SIGNING_SECRET": SIGNING_SECRET}
    command = [str(empty.environment / "bin" / "codat-sandbox"), "--port", str(port)]
    stack.processes.serve("Codat of staging", command, environment, port)
    codat = Codat(f"http://127.0.0.1:{port}", key, SIGNING_SECRET, is_sandbox=True)
    httpx.post(f"{codat.base_url}/sandbox/reset", json=COMPANIES | {"seed": 2, "never_synced": 1}).raise_for_status()
    return codat


@pytest.fixture(scope="module")
def staging(stack: RunningStack, other_codat: Codat, empty: Empty) -> Iterator[DeployedStack]:
    """The second stack, with a policy, secrets and schedules of its own."""
    context, programs = {"name": NAME, "codat_base_url": other_codat.base_url}, empty.environment / "bin"
    outputs = deploy.deploy(stack.processes, context, empty.folder, empty.folder, programs)
    deploy.put_secrets(outputs, other_codat.api_key, SIGNING_SECRET)
    file = empty.folder / "outputs.json"
    file.write_text(outputs.model_dump_json(by_alias=True))
    other_codat.register_webhook(outputs.webhook_url)
    yield DeployedStack(stack.deployed.session, NAME, empty.folder / "staging.toml", stack.deployed.endpoint, file)
    delete(NAME)


@pytest.fixture(scope="module")
def lender(
    stack: RunningStack, empty: Empty, companies: set[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lender]:
    """The stack of the example, resumed, which knows the companies of its own Codat."""
    settings = SandboxSettings.model_validate(COMPANIES | {"seed": 3, "never_synced": 0, "fresh_at_start": 0})
    with running_sandbox(settings, "key-of-the-lender", LENDERS_SECRET) as sandbox:
        codat = Codat(sandbox.base_url, sandbox.api_key, LENDERS_SECRET, is_sandbox=True)
        lender = deploy_lender(stack, codat, empty.environment, tmp_path_factory.mktemp(example.NAME))

        def feeds() -> list[Feed]:
            lender.deployed.invoke(lender.deployed.outputs.check_freshness_function)
            return list(lender.deployed.tables.feeds.scan())

        wait_for(feeds)
        lender.deployed.invoke(lender.deployed.outputs.queue_refreshes_function)
        lender.deployed.operations.resume_all()
        yield lender
        delete(example.NAME)


@pytest.fixture(scope="module")
def borrowers(lender: Lender) -> list[str]:
    """The lender's companies that have all of the data that it decides on."""
    kinds = defaultdict[str, set[str]](set)
    for feed in lender.deployed.tables.feeds.scan():
        kinds[feed.company_id].add(feed.data_type)
    return sorted(company_id for company_id, found in kinds.items() if found >= {"invoices", "bills"})


@pytest.fixture(scope="module")
def before_resume(staging: DeployedStack, empty: Empty) -> list[Feed]:
    """The second stack's feeds after ticks that ran before it was resumed."""

    def checked() -> list[Feed]:
        # A tick is skipped while a scheduled one runs.
        staging.invoke(staging.outputs.check_freshness_function)
        return list(staging.tables.feeds.scan())

    wait_for(checked)
    staging.invoke(staging.outputs.queue_refreshes_function)
    feeds = list(staging.tables.feeds.scan())
    resumed = empty.run("codat-freshness", "--stack", NAME, "resume")
    assert resumed.returncode == 0, resumed.stderr
    return feeds


def delete(name: str) -> None:
    """Delete a stack: the tests of other modules rely on that there is one."""
    cloudformation = boto3.client("cloudformation")

    def exists() -> bool:
        summaries = cloudformation.list_stacks()["StackSummaries"]
        return any(each["StackName"] == name and each["StackStatus"] != "DELETE_COMPLETE" for each in summaries)

    cloudformation.delete_stack(StackName=name)
    wait_for(lambda: not exists())


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
        feeds = list(staging.tables.feeds.scan())
        has_all = len({feed.company_id for feed in feeds}) == COMPANIES["companies"]
        # A data type whose read failed before is not due yet.
        return has_all and all(feed.is_unsupported or (feed.succeeded_at and not feed.in_flight) for feed in feeds)

    with running_ticks(stack.deployed):
        wait_for(lambda: list(stack.tables.companies.scan()) and stack.tables.policies.in_force())
    control, until = stack.tables.control, clock() + timedelta(minutes=10)
    for lease in LEASES:
        wait_for(partial(control.acquire, lease, "a test", until, clock()))
    with running_ticks(staging):
        wait_for(are_read)
    yield companies_of(staging)
    for lease in LEASES:
        control.release(lease, "a test")


def services(stack: DeployedStack) -> set[str]:
    """Return the dimension of all metrics that the function emitted which receives the webhooks of a stack."""
    group, found = stack.log_group(stack.outputs.receive_webhook_function), set[str]()
    for page in boto3.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group):
        records = [event["message"] for event in page["events"] if '"_aws"' in event["message"]]
        found |= {json.loads(record)["service"] for record in records}
    return found


def companies_of(stack: DeployedStack) -> set[str]:
    return {company.company_id for company in stack.tables.companies.scan()}


def test_a_new_stack_checks_and_queues_nothing_until_it_is_resumed(before_resume: list[Feed]) -> None:
    assert any(map(is_due, before_resume))
    assert not [feed for feed in before_resume if feed.in_flight or feed.last_dataset]


def test_each_stack_reads_the_companies_of_its_own_codat_while_the_other_holds_its_leases(
    stack: RunningStack, other_codat: Codat, companies: set[str]
) -> None:
    headers = {"Authorization": authorization(other_codat.api_key)}
    listed = httpx.get(f"{other_codat.base_url}/companies", headers=headers).json()["results"]
    assert companies == {company["id"] for company in listed}
    assert len(companies) == 2
    assert companies.isdisjoint(companies_of(stack.deployed))


def test_the_client_gets_fresh_data_from_a_stack_that_was_deployed_from_the_wheel(
    staging: DeployedStack, companies: set[str], empty: Empty
) -> None:
    feed = next(feed for feed in staging.tables.feeds.scan() if feed.succeeded_at)
    before = clock()
    ran = empty.run("python", "-c", PROGRAM, staging.outputs.api_url, feed.company_id, feed.data_type)
    assert ran.returncode == 0, ran.stderr
    as_of, age = ran.stdout.split()
    assert datetime.fromisoformat(as_of) >= before - timedelta(seconds=1)
    assert 0 <= float(age) <= (clock() - before).total_seconds() + 1


def test_the_events_of_a_stack_are_on_its_own_bus(
    companies: set[str], events: "tuple[SQSClient, str]", domain_events: "tuple[SQSClient, str]"
) -> None:
    of_staging = wait_for(lambda: received(events))
    assert {event["detail"]["companyId"] for event in of_staging} == companies
    assert companies.isdisjoint(event["detail"]["companyId"] for event in received(domain_events))


def test_a_stack_accepts_only_webhooks_that_are_signed_with_its_own_secret(
    stack: RunningStack, staging: DeployedStack
) -> None:
    assert send_webhook(staging, stack.codat.signing_secret) == httpx.codes.UNAUTHORIZED
    assert send_webhook(staging, SIGNING_SECRET) == httpx.codes.ACCEPTED
    assert send_webhook(stack.deployed, SIGNING_SECRET) == httpx.codes.UNAUTHORIZED


def test_the_metrics_of_a_stack_have_its_name(stack: RunningStack, staging: DeployedStack) -> None:
    for each, name in ((staging, NAME), (stack.deployed, "CodatFreshness")):
        assert send_webhook(each, "whsec_Zm9yZ2VkZm9yZ2VkZm9yZ2VkZm9yZ2Vk") == httpx.codes.UNAUTHORIZED
        assert wait_for(partial(services, each)) == {name}


def test_the_lenders_function_waits_for_fresh_data_and_then_decides(lender: Lender, borrowers: list[str]) -> None:
    before = clock()
    decided = lender.decide(borrowers[0])
    assert decided["decide"], decided
    assert decided["asOf"].keys() == {"invoices", "bills"}
    assert min(map(datetime.fromisoformat, decided["asOf"].values())) >= before - timedelta(seconds=1)


def test_the_lenders_state_machine_waits_with_a_token_and_then_decides(lender: Lender, borrowers: list[str]) -> None:
    decided = lender.apply(borrowers[-1])
    assert decided["decide"], decided


def test_nothing_of_a_stack_is_seen_in_the_lenders_nor_of_that_in_others(
    stack: RunningStack,
    staging: DeployedStack,
    lender: Lender,
    events: "tuple[SQSClient, str]",
    domain_events: "tuple[SQSClient, str]",
) -> None:
    known = [companies_of(each) for each in (stack.deployed, staging, lender.deployed)]
    assert all(known)
    assert sum(map(len, known)) == len(set[str]().union(*known))
    for secret in (stack.codat.signing_secret, SIGNING_SECRET):
        assert send_webhook(lender.deployed, secret) == httpx.codes.UNAUTHORIZED
    assert send_webhook(lender.deployed, LENDERS_SECRET) == httpx.codes.ACCEPTED
    for each in (staging, stack.deployed):
        assert send_webhook(each, LENDERS_SECRET) == httpx.codes.UNAUTHORIZED
    seen = {event["detail"].get("companyId") for queue in (events, domain_events) for event in received(queue)}
    assert seen.isdisjoint(known[-1])


def test_the_command_line_says_how_to_choose_a_stack_and_then_shows_its_companies(
    stack: RunningStack, lender: Lender, empty: Empty
) -> None:
    undecided = empty.run("codat-freshness", "status")
    assert undecided.returncode == 1
    assert f"choose one of CodatFreshness, {example.NAME}, {NAME} with --stack" in undecided.stderr

    for each in (stack.deployed, lender.deployed):
        chosen = empty.run("codat-freshness", "--stack", each.name, "status", "--json")
        assert chosen.returncode == 0, chosen.stderr
        assert json.loads(chosen.stdout)["companies"] == len(companies_of(each))


def test_a_deployment_of_another_policy_wins_over_a_pushed_one_and_says_so_before(
    stack: RunningStack, staging: DeployedStack, other_codat: Codat, empty: Empty, settings: Settings, tmp_path: Path
) -> None:
    pushed = tmp_path / "pushed.toml"
    pushed.write_text(POLICY.replace('"1 hour"', '"2 hours"').replace('warn_after = "2 hours"', ""))
    push = empty.run("codat-freshness", "--stack", NAME, "policy", "push", str(pushed), "--yes")
    assert push.returncode == 0, push.stderr
    staging.policy_file.write_text(POLICY.replace('"1 hour"', '"90 minutes"'))

    # From the clone, whose app warns: its stack has the same resources.
    context = {
        "local": "true",
        "name": NAME,
        "policy": str(staging.policy_file),
        "codat_base_url": other_codat.base_url,
    }
    deploy.deploy(stack.processes, context, tmp_path)
    said = (settings.run_folder / "logs" / "cdk-deploy.log").read_text()
    assert "this replaces the policy in force by staging.toml: version 2, which arn:aws:" in said

    def versions() -> list[str] | None:
        staging.invoke(staging.outputs.queue_refreshes_function)
        known = staging.tables.policies.history(staging.policies.latest())
        return [each.how for each in known] if known[0].how == "deployed" and len(known) == 3 else None

    assert wait_for(versions) == ["deployed", "pushed", "deployed"]
    shown = empty.run("codat-freshness", "--stack", NAME, "policy", "show")
    assert shown.stdout == staging.policy_file.read_text()
