"""The handlers under Lambda's own runtime, in its emulator: what they need of their environment, memory and time.

Each runs from the deployed bundle, mounted read-only, with the environment of the template and nothing else, and
without this project's virtual environment. Its data is limited to 128 MB, the least memory of any function. The first
run is a cold start with everything that a run does; its times are of a whole processor, which Lambda gives while a
function starts. The second has the share of a processor that Lambda gives for the function's memory.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import httpx
from standardwebhooks import Webhook

from bench.aws_cost import function, resources
from bench.figures import Figure, show
from bench.processor_share import limited, share_of
from bench.tables import KINDS, LocalAws, running_aws
from codat_sandbox.server import TEST_API_KEY, running_sandbox
from codat_sandbox.settings import Settings
from freshness.app.api.routes import Route
from freshness.aws.dynamodb.tables import TableNames
from freshness.domain.feeds.feed import Feed
from infra import bundling
from local import local_aws
from local.processes import free_port, is_listening
from local.settings import ROOT
from stack_access.api import api_event

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of this benchmark only
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"'
"""Runs a command in a folder that it cannot write to, in a mount namespace of its own."""
MB = 1_000_000
LEAST_MEMORY = 128 * 2**20
START_SECONDS = 10.0
COLD_AT_MOST = 5_000.0
"""The most milliseconds of a cold start that Codat or a caller waits for. Codat waits for 15 seconds."""


@dataclass(frozen=True, slots=True)
class Run:
    """The first run of a function in a new environment, and the next."""

    cold_seconds: float
    warm_seconds: float
    peak_memory: int
    """In bytes."""
    response: Any


def measure() -> list[Figure]:
    """Measure the first and the next run of each handler, and its memory. Where somebody waits, there is a target."""
    return [
        figure
        for name, run in _runs().items()
        for figure in (
            Figure(
                what=f"Lambda's runtime: first run of {name}, with its start",
                value=run.cold_seconds * 1000,
                unit="ms",
                against=f"the next run, with its share of a processor: {run.warm_seconds * 1000:.0f} ms",
                at_most=COLD_AT_MOST if name in ("receive_webhook", "serve_api") else None,
            ),
            Figure(
                what=f"Lambda's runtime: peak memory of {name}",
                value=run.peak_memory / MB,
                unit="MB",
                against="the memory of the function",
                at_most=function(name)["MemorySize"],
            ),
        )
    ]


def _runs() -> dict[str, Run]:
    """Run each handler in an environment of its own, one after the other, and return the runs by name.

    Raises:
        RuntimeError: a handler failed, or did not do what it should.
    """
    done: dict[str, Run] = {}
    with running_aws() as aws, running_sandbox(Settings(companies=3)) as sandbox:
        names = aws.create_tables()
        tables, _ = aws.open_tables(names)
        values = _stored(aws, names) | {"https://api.codat.io": sandbox.base_url}

        def run(name: str, event: object) -> Any:
            done[name] = _run(name, event, values, aws.url)
            return done[name].response

        run("check_freshness", {})
        companies = list(tables.companies.scan())
        run("act_on_page", {"pause": False})  # A new stack is paused.
        run("queue_refreshes", {})
        feeds = [feed for company in companies for feed in tables.feeds.of_company(company.company_id)]
        queued = next((feed for feed in feeds if feed.in_flight), None)
        if len(companies) != 3 or queued is None:
            raise RuntimeError(f"the ticks left {len(companies)} companies, and {queued} in flight")
        body = _read_completed(queued)
        if run("receive_webhook", _request(body)) != {"statusCode": 202}:
            raise RuntimeError(f"receive_webhook returned {done['receive_webhook'].response}")
        run("apply_webhook", {"Records": [_message(body)]})
        if tables.feeds.get(*queued.key).in_flight:
            raise RuntimeError(f"apply_webhook returned {done['apply_webhook'].response}, and did not apply {body}")
        question = api_event("GET", Route.GET_FRESHNESS.path(queued.company_id))
        if run("serve_api", question)["statusCode"] != 200:
            raise RuntimeError(f"serve_api returned {done['serve_api'].response}")
        if '<div class="cf"' not in run("show_page", {"widgetContext": {"theme": "light"}}):
            raise RuntimeError(f"show_page returned {done['show_page'].response}")
    handlers = {each["Handler"].removesuffix(".handler") for each in resources("AWS::Lambda::Function")}
    if left_out := handlers - done.keys():
        raise RuntimeError(f"the template has functions that were not run: {left_out}")
    return done


def _read_completed(feed: Feed) -> str:
    """Return the webhook for the end of a read of a feed."""
    read = {
        "connectionId": feed.connection_id,
        "dataType": feed.data_type,
        "recordsModified": True,
        "status": "Complete",
    }
    payload = {"referenceCompany": {"id": feed.company_id, "name": "", "tags": {}}, "dataTypes": [read]}
    now = datetime.now(UTC).isoformat()
    return json.dumps({"id": "m", "eventType": "read.completed", "generatedDate": now, "payload": payload})


def _request(body: str) -> dict[str, Any]:
    """Return the event of API Gateway for a signed webhook."""
    now = datetime.now(UTC)
    signature = Webhook(SIGNING_SECRET).sign("m", now, body)
    headers = {"webhook-id": "m", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return {"headers": headers, "body": body}


def _message(body: str) -> dict[str, Any]:
    """Return the record of SQS for a webhook."""
    attribute = {"stringValue": "m", "dataType": "String"}
    return {
        "messageId": "m",
        "eventSource": "aws:sqs",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {"webhook-id": attribute},
    }


def _stored(aws: LocalAws, names: TableNames) -> dict[str, str]:
    """Store the secrets, create the queues, and return each resource's name by its logical id without the hash."""
    ssm, sqs = aws.session.client("ssm", endpoint_url=aws.url), aws.session.client("sqs", endpoint_url=aws.url)
    secrets = {"/CodatFreshness/codat-api-key": TEST_API_KEY, "/CodatFreshness/webhook-signing-secret": SIGNING_SECRET}
    for name, value in secrets.items():
        ssm.put_parameter(Name=name, Value=value, Type="SecureString")
    queues = ("WebhookIntakeQueue", "WebhookIntakeDeadLetterQueue")
    return {
        **{f"Tables{kind.title()}": getattr(names, kind) for kind in KINDS},
        **{queue: sqs.create_queue(QueueName=queue)["QueueUrl"] for queue in queues},
        "EventBus": "default",
    }


def _run(name: str, event: object, values: Mapping[str, str], aws_url: str) -> Run:
    """Run a function twice, first in a new environment.

    Raises:
        RuntimeError: it failed.
    """
    described = function(name)
    variables = _environment(described, values, aws_url)
    sources, policy = bundling.Sources.of_this_package(), ROOT / "freshness.toml"
    bundle = bundling.build(sources, policy, bundling.THIS_MACHINE, ROOT / ".build")
    with TemporaryFile() as output, _emulator(described, variables, bundle, output) as (process, url):
        began = time.monotonic()
        response = httpx.post(url, json=event, timeout=60)
        cold_ended = time.monotonic()
        if response.is_success:
            with limited(_function_process(process), share_of(described["MemorySize"])):
                warm_began = time.monotonic()
                response = httpx.post(url, json=event, timeout=60)
                warm_seconds = time.monotonic() - warm_began
        if not response.is_success or "errorType" in response.text:
            output.seek(0)
            raise RuntimeError(f"{name} failed in Lambda's runtime: {response.text}\n{output.read().decode()}")
        output.seek(0)
        records = output.read().decode()
        if libraries := set(re.findall(r'"logger": ?"((?:httpx|botocore)[^"]*)"', records)):
            raise RuntimeError(f"{name} logs the calls of {libraries}: {records}")
        return Run(cold_ended - began, warm_seconds, _peak_memory(_function_process(process)), response.json())


def _environment(function: Mapping[str, Any], values: Mapping[str, str], aws_url: str) -> dict[str, str]:
    """Return a function's variables in the template, with local resources in them, and those that Lambda sets."""
    variables = {}
    for name, value in function["Environment"]["Variables"].items():
        reference = value.get("Ref") or value["Fn::GetAtt"][0] if isinstance(value, dict) else value
        without_hash = reference[:-8] if isinstance(value, dict) else reference
        variables[name] = values.get(without_hash, reference)
    return variables | {
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_REGION": local_aws.REGION,
        "AWS_DEFAULT_REGION": local_aws.REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function["Timeout"]),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function["MemorySize"]),
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PATH": os.defpath,
        "PYTHONPATH": str(_installed()),
    }


@contextmanager
def _emulator(
    function: Mapping[str, Any], environment: Mapping[str, str], bundle: Path, output: IO[bytes]
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the emulator with a function, and yield it and the URL that invokes the function."""
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    emulator = _installed() / "samcli" / "local" / "rapid" / f"aws-lambda-rie-{machine}"
    port = free_port()
    read_only = ["unshare", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, str(bundle)]
    addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    addresses += ["--runtime-api-address", f"127.0.0.1:{free_port()}"]
    limited = [str(shutil.which("prlimit")), f"--data={LEAST_MEMORY}"]
    # `-S`: without the packages of the virtual environment.
    runtime = [*limited, sys.executable, "-S", "-m", "awslambdaric", function["Handler"]]
    with subprocess.Popen(  # noqa: S603 - fixed arguments
        [*read_only, str(emulator), *addresses, *runtime],
        env=dict(environment),
        stdout=output,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not is_listening(port):
                if time.monotonic() > deadline:
                    raise RuntimeError("the emulator of Lambda's runtime did not start")
                time.sleep(0.01)
            yield process, f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        finally:
            process.terminate()


def _peak_memory(process: int) -> int:
    """Return the most memory that a process had, in bytes."""
    return int(_status(process)["VmHWM"].split()[0]) * 1024


def _function_process(emulator: subprocess.Popen[bytes]) -> int:
    """Return the process of the function that an emulator runs."""
    for path in Path("/proc").glob("[0-9]*"):
        if int(_status(int(path.name))["PPid"]) == emulator.pid:
            return int(path.name)
    raise RuntimeError("the function's process has ended")


def _status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


@cache
def _installed() -> Path:
    """Install the emulator and Lambda's runtime for Python beside the bundles, and return their folder."""
    folder = ROOT / ".build" / f"lambda-runtime-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(unfinished)]
        subprocess.run(  # noqa: S603 - fixed arguments
            [sys.executable, "-m", "pip", "install", *options, "--requirement", str(REQUIREMENTS)], check=True
        )
        unfinished.rename(folder)
    return folder


if __name__ == "__main__":
    show("Lambda's runtime", measure())
