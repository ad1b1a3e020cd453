"""A backlog of webhooks, applied by the deployed handler under Lambda's runtime, in batches as Lambda takes them.

As many functions run at once as the template allows, each with its share of a processor and its timeout. What a batch
returns is delivered again, and what was delivered too often counts as dead.
"""

import sys
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import httpx

from bench import fleet, lambda_runtime
from bench.aws_cost import template
from bench.figures import Figure, show
from bench.parts import example_policy
from bench.processor_share import limited, share_of
from bench.tables import LocalAws, running_aws, write
from freshness.aws.dynamodb.item_codec import company_item, feed_item
from freshness.aws.dynamodb.table import marshal
from infra import bundling
from infra.webhook_intake import MAX_RECEIVE_COUNT
from local.settings import ROOT

WEBHOOKS = {256: 2_000, 512: 200}
"""How many webhooks by the memory in megabytes, which gives a share of 0.145 and of 0.29 of a processor."""


@dataclass(slots=True)
class Backlog:
    """The webhooks that wait, as company id and number of deliveries, and what became of batches."""

    waiting: deque[tuple[str, int]]
    bodies: Mapping[str, str]
    batch_size: int
    longest: float = 0.0
    """The longest run, in seconds."""
    timeouts: int = 0
    dead: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> dict[str, int]:
        """Return the next batch."""
        with self._lock:
            return dict(self.waiting.popleft() for _ in range(min(self.batch_size, len(self.waiting))))

    def put_back(self, batch: Mapping[str, int], failed: set[str], seconds: float, *, is_timeout: bool) -> None:
        """Put failed webhooks back to be delivered again, or count them as dead."""
        with self._lock:
            self.longest = max(self.longest, seconds)
            self.timeouts += is_timeout
            for company_id in failed:
                if batch[company_id] >= MAX_RECEIVE_COUNT:
                    self.dead += 1
                else:
                    self.waiting.append((company_id, batch[company_id] + 1))

    def event(self, batch: Mapping[str, int]) -> dict[str, Any]:
        """Return the event that Lambda invokes the function with."""
        return {"Records": [self._record(company_id, deliveries) for company_id, deliveries in batch.items()]}

    def _record(self, company_id: str, deliveries: int) -> dict[str, Any]:
        return {
            "messageId": company_id,
            "eventSource": "aws:sqs",
            "body": self.bodies[company_id],
            "attributes": {
                "ApproximateReceiveCount": str(deliveries),
                "SentTimestamp": str(int(time.time() * 1000)),
            },
            "messageAttributes": {"webhook-id": {"stringValue": company_id, "dataType": "String"}},
        }


@dataclass(frozen=True, slots=True)
class Result:
    """How long the backlog took, its longest run in seconds, and how many runs timed out and webhooks were lost."""

    seconds: float
    longest: float
    timeouts: int
    lost: int
    dead: int


def measure() -> list[Figure]:
    """Apply the webhooks with each memory."""
    return [figure for memory in WEBHOOKS for figure in _figures(memory, _run(memory))]


def _figures(memory: int, result: Result) -> list[Figure]:
    what = f"{WEBHOOKS[memory]:,} webhooks of ten data types at once, {memory} MB"
    share = f"{share_of(memory):.3f} of a processor, {_mapping()['ScalingConfig']['MaximumConcurrency']} functions"
    timeout = lambda_runtime.function("apply_webhook")["Timeout"]
    return [
        Figure(what=f"{what}: until all are applied", value=result.seconds, unit="s", against=share),
        Figure(what=f"{what}: longest run", value=result.longest, unit="s", against=share, at_most=timeout),
        Figure(what=f"{what}: timeouts", value=result.timeouts, unit="", at_most=0),
        Figure(what=f"{what}: lost, of {10 * WEBHOOKS[memory]:,} reads", value=result.lost, unit="", at_most=0),
        Figure(what=f"{what}: in the dead-letter queue", value=result.dead, unit="", at_most=0),
    ]


def _mapping() -> dict[str, Any]:
    """Return the properties of the template's event source mapping."""
    resources = template()["Resources"].values()
    [found] = [each["Properties"] for each in resources if each["Type"] == "AWS::Lambda::EventSourceMapping"]
    return dict(found)


def _run(memory: int) -> Result:
    with running_aws() as aws, ExitStack() as stack:
        names = aws.create_tables()
        values = lambda_runtime.resources(aws, names)
        bodies = _fill(aws, names.companies, names.feeds, WEBHOOKS[memory])
        backlog = Backlog(deque((company_id, 1) for company_id in bodies), bodies, _mapping()["BatchSize"])
        bundle = _bundle()
        at_once = _mapping()["ScalingConfig"]["MaximumConcurrency"]
        functions = [Function(values, aws.url, bundle, memory) for _ in range(at_once)]
        for function in functions:
            stack.callback(function.stop)
            function.start()
        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as pollers:
            list(pollers.map(lambda function: _poll(backlog, function), functions))
        seconds = time.monotonic() - began
        tables, _ = aws.open_tables(names)
        lost = sum(feed.in_flight is not None for feed in tables.feeds.scan())
        sqs = aws.session.client("sqs", endpoint_url=aws.url)
        dead = sqs.get_queue_attributes(
            QueueUrl=values["WebhookIntakeDeadLetterQueue"], AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]["ApproximateNumberOfMessages"]
        return Result(seconds, backlog.longest, backlog.timeouts, lost, backlog.dead + int(dead))


def _fill(aws: LocalAws, companies: str, feeds: str, number: int) -> dict[str, str]:
    """Write companies whose feeds are all being read, and return the webhook about each."""
    known = [fleet.company(index) for index in range(number)]
    policy, now = example_policy(), datetime.now(UTC)
    write(aws, companies, (_stored(company_item(company)) for company in known))
    in_flight = (feed for company in known for feed in fleet.feeds_in_flight(company, policy))
    write(aws, feeds, (_stored(feed_item(feed)) for feed in in_flight))
    return {company.company_id: fleet.reads_completed(company, fleet.DATA_TYPES, now) for company in known}


def _stored(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item at its first version, as a request in JSON has it."""
    return {name: _as_json(value) for name, value in marshal(item | {"version": 1}).items()}


def _as_json(typed: dict[str, Any]) -> dict[str, Any]:
    return {"B": b64encode(bytes(typed["B"])).decode()} if "B" in typed else typed


def _bundle() -> Path:
    sources, policy = bundling.Sources.of_this_package(), ROOT / "freshness.toml"
    return bundling.build(sources, policy, bundling.THIS_MACHINE, ROOT / ".build")


def _show_failures(output: IO[bytes]) -> None:
    """Print the errors and warnings that a function logged."""
    output.seek(0)
    for line in output:
        if b"ERROR" in line or b"WARN" in line or b"Traceback" in line:
            print(line.decode(errors="replace").rstrip()[:2000], file=sys.stderr, flush=True)


class Function:
    """An execution environment of apply_webhook with a share of a processor, which is started again after a failure."""

    def __init__(self, values: Mapping[str, str], aws_url: str, bundle: Path, memory: int) -> None:
        self._function = lambda_runtime.function("apply_webhook") | {"MemorySize": memory}
        self._environment = lambda_runtime.environment(self._function, values, aws_url)
        self._bundle, self._memory = bundle, memory
        self._running = ExitStack()
        self._url = ""

    def start(self) -> None:
        """Start a new environment, which has a whole processor until it has run once, as in Lambda."""
        output = self._running.enter_context(TemporaryFile())  # noqa: SIM115 - the stack closes it
        process, self._url = self._running.enter_context(
            lambda_runtime.emulator(self._function, self._environment, self._bundle, output)
        )
        self._running.callback(_show_failures, output)
        httpx.post(self._url, json={"Records": []}, timeout=60)
        self._running.enter_context(limited(lambda_runtime.function_process(process), share_of(self._memory)))

    def stop(self) -> None:
        """Stop the environment."""
        self._running.close()

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what the function returned; `None` if it failed or ran out of time."""
        response = httpx.post(self._url, json=event, timeout=120)
        try:
            returned: dict[str, Any] = response.json()
        except ValueError:
            returned = {}
        if "batchItemFailures" in returned:
            return returned
        print(f"The function ended: {response.status_code} {response.text!r}", file=sys.stderr, flush=True)
        return None


def _poll(backlog: Backlog, function: Function) -> None:
    """Apply batches until none is left."""
    while batch := backlog.take():
        began = time.monotonic()
        returned = function.invoke(backlog.event(batch))
        failed = set(batch) if returned is None else {each["itemIdentifier"] for each in returned["batchItemFailures"]}
        seconds = time.monotonic() - began
        backlog.put_back(batch, failed, seconds, is_timeout=returned is None)
        print(
            f"{len(batch) - len(failed)} applied in {seconds:.1f} s, {len(backlog.waiting)} wait",
            file=sys.stderr,
            flush=True,
        )
        if returned is None:
            function.stop()
            function.start()


if __name__ == "__main__":
    show("Backlog of webhooks", measure())
