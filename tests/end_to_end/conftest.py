"""A stack that is deployed to a local AWS with the CDK command line, once for all tests of this folder."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import httpx
import pytest
from rich.console import Console
from standardwebhooks import Webhook

import local.watch
from codat_sandbox.middleware import authorization
from freshness.domain.feeds.feed import Feed
from local import local_aws
from local.processes import free_port
from local.progress import Progress
from local.settings import Settings
from local.stack import RunningStack, running_stack
from stack_access.stack import DeployedStack, clock

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

Seen = TypeVar("Seen")


LONGEST_WAIT = 240.0
"""Seconds after which a test fails that waits, also on a machine that is busy with other tests."""


def wait_for(look: Callable[[], Seen | None], seconds: float = LONGEST_WAIT) -> Seen:
    """Return what `look` returns as soon as that is true, and fail the test if that takes longer than `seconds`."""
    deadline, began = time.monotonic() + seconds, time.monotonic()
    while not (seen := look()):
        ended = time.monotonic()
        assert ended < deadline, f"not within {seconds:.0f} seconds"
        # What takes long to look at would keep what it waits for from the processor.
        time.sleep(max(0.2, 3 * (ended - began)))
        began = time.monotonic()
    return seen


def answered(send: Callable[[], httpx.Response]) -> httpx.Response:
    """Send a request again until it is answered: a function that starts on a busy machine may exceed its timeout."""

    def answer() -> httpx.Response | None:
        try:
            response = send()
        except httpx.TimeoutException:
            return None
        return None if response.is_server_error else response

    return wait_for(answer)


def files_with(text: str, *texts: str, below: Path) -> dict[str, set[str]]:
    """Return the paths of the files below a folder that contain each text.

    `grep` ignores files that are deleted while it runs.
    """
    patterns = [option for each in (text, *texts) for option in ("-e", each)]
    command = ["grep", "-r", "--text", "--only-matching", "--null", "--fixed-strings", *patterns, str(below)]
    found: dict[str, set[str]] = {each: set() for each in (text, *texts)}
    for line in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines():
        path, _, match = line.partition("\0")
        found[match].add(path)
    return found


def dead_letters(stack: RunningStack) -> str:
    response = boto3.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs.webhook_dead_letter_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return response["Attributes"]["ApproximateNumberOfMessages"]


def environment_of_run(folder: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a `make run` with ports and a folder of its own, and more variables."""
    ports = {name: str(free_port()) for name in ("LOCAL_AWS_PORT", "SANDBOX_PORT", "PAGE_PORT")}
    # ministack enforces the policies of the deployed roles.
    return {**os.environ, "PYTHONPATH": "functions", "LOCAL_FOLDER": str(folder), "AUTH": "true", **ports, **variables}


def send_webhook(stack: DeployedStack, secret: str) -> int:
    """Send a webhook that is signed with a secret to a stack, and return the status of the response."""
    now, body = datetime.now(UTC), "{}"
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("m", now, body),
    }
    url = stack.outputs.webhook_url
    return answered(lambda: httpx.post(url, headers=headers, content=body, timeout=60)).status_code


def is_due(feed: Feed) -> bool:
    return feed.due_at is not None and feed.due_at <= clock()


class Sandbox:
    """The sandbox of a local run, by its own API and Codat's."""

    def __init__(self, stack: RunningStack) -> None:
        headers = {"Authorization": authorization(stack.codat.api_key)}
        self.http = httpx.Client(base_url=stack.codat.base_url, headers=headers, timeout=60)

    @contextmanager
    def set(self, **settings: object) -> Iterator[None]:
        """Change settings during the block."""
        before = self.http.get("/sandbox/settings").json()
        self.http.patch("/sandbox/settings", json=settings).raise_for_status()
        try:
            yield
        finally:
            self.http.patch("/sandbox/settings", json={name: before[name] for name in settings}).raise_for_status()

    @contextmanager
    def with_quota(self, stack: RunningStack, daily: int) -> Iterator[None]:
        """Grant only so many calls a day during the block."""
        try:
            with self.set(daily_quota=daily):
                yield
        finally:
            # The ticks would respect the recorded quota until midnight.
            key = {"name": {"S": "api limits"}}
            boto3.client("dynamodb").delete_item(TableName=stack.outputs.control_table, Key=key)


@pytest.fixture(scope="package")
def sandbox(stack: RunningStack) -> Iterator[Sandbox]:
    """The Codat of the deployed stack."""
    sandbox = Sandbox(stack)
    with sandbox.http:
        yield sandbox


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with their own ports and folder, so that a `make run` at the same time is not disturbed."""
    aws, sandbox, page = free_port(), free_port(), free_port()
    folder = tmp_path_factory.mktemp("local")
    return Settings(local_aws_port=aws, sandbox_port=sandbox, page_port=page, local_folder=folder)


@contextmanager
def using_local_aws(port: int) -> Iterator[None]:
    """Let every tool use the local AWS on a port, which enforces the policies of the deployed roles."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name, value in local_aws.tool_environment(port).items():
            environment.setenv(name, value)
        environment.setenv("AUTH", "true")
        yield


@pytest.fixture(scope="package")
def stack(settings: Settings) -> Iterator[RunningStack]:
    """The deployed stack, whose schedules are running."""
    with using_local_aws(settings.local_aws_port), running_stack(settings, Progress(Console())) as running:
        yield running


@pytest.fixture(scope="package", autouse=True)
def _ticks_follow_each_other_quickly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local.watch, "TICK_SECONDS", 3.0)
        yield


@pytest.fixture(scope="package")
def domain_events(stack: RunningStack) -> "tuple[SQSClient, str]":
    """A queue that receives every "Company data refreshed" of the stack's bus."""
    return queue_of_events("domain-events", stack.outputs.event_bus_name, {"detail-type": ["Company data refreshed"]})


def queue_of_events(name: str, bus: str, pattern: dict[str, list[str]]) -> "tuple[SQSClient, str]":
    """Create a queue that receives the events of a bus that match a pattern, as a user would set it up."""
    sqs, events = boto3.client("sqs"), boto3.client("events")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return sqs, url


def received(queue: "tuple[SQSClient, str]") -> list[dict[str, Any]]:
    sqs, url = queue
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"]) for message in messages]
    return found
