"""The whole system on this machine: a local AWS with the deployed stack, and the Codat that it reads from."""

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.tables import Tables
from freshness.policy.loader import load
from local import deploy, local_aws
from local.codat import Codat
from local.errors import LocalRunError
from local.processes import Processes, guarded_processes
from local.progress import Progress
from local.settings import ROOT, Settings
from stack_access.outputs import Outputs
from stack_access.page_server import serving
from stack_access.stack import DeployedStack

EVERY_MINUTE = "cron(* * * * ? *)"
"""The shortest interval of EventBridge Scheduler."""
UPDATE_PAGE_EVERY = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack that is deployed and has its secrets."""

    deployed: DeployedStack
    codat: Codat
    dry_run: bool
    processes: Processes
    page_url: str
    """Where its page is served."""

    @property
    def outputs(self) -> Outputs:
        return self.deployed.outputs

    @property
    def queries(self) -> Queries:
        return self.deployed.queries

    @property
    def tables(self) -> Tables:
        return self.deployed.tables


@contextmanager
def running_stack(settings: Settings, progress: Progress) -> Iterator[RunningStack]:
    """Start everything, deploy the stack, and yield it. At the end, even after an error, stop and remove everything.

    While it runs, the files `outputs.json` and `env` in the folder of the settings say how to reach it.

    Raises:
        LocalRunError: a port is in use, a process did not start, or the stack could not be deployed.
    """
    folder = settings.run_folder
    logs, scratch, outputs_file, tools_file = (folder / name for name in ("logs", "scratch", "outputs.json", "env"))
    logs.mkdir(parents=True, exist_ok=True)
    codat = Codat.of(settings)
    _require_free_port("LOCAL_AWS_PORT", settings.local_aws_port)
    if codat.is_sandbox:
        _require_free_port("SANDBOX_PORT", settings.sandbox_port)
    _require_free_port("PAGE_PORT", settings.page_port)
    with guarded_processes(logs, transient=(outputs_file, tools_file, scratch)) as processes:
        with progress.step("Starting the local AWS"):
            local_aws.start(processes, settings.local_aws_port, scratch / "ministack")
        if codat.is_sandbox:
            with progress.step("Starting the Codat sandbox"):
                _start_sandbox(processes, settings, codat)
        else:
            with progress.step(f"Checking the API key at {codat.base_url}"):
                remaining = codat.remaining_calls()
            if remaining is None:
                progress.warn(f"{codat.base_url} sends no rate limit headers: how many calls are left is unknown.")
        outputs = _deploy(processes, settings, codat, scratch, progress)
        if codat.is_sandbox:
            with progress.step("Registering the webhook at Codat"):
                codat.register_webhook(outputs.webhook_url, load(ROOT / "freshness.toml").products)
        else:
            progress.note(
                "No webhook is registered, because Codat cannot reach this machine. Checks find the same, a bit later."
            )
        _write(outputs_file, json.dumps(outputs.model_dump(by_alias=True), indent=2) + "\n")
        _write(tools_file, _exports(settings, codat))
        deployed = DeployedStack.of_local_run(ROOT / "freshness.toml", folder)
        console = f"{codat.base_url}/sandbox/" if codat.is_sandbox else ""
        with serving(deployed.used_by("the page"), settings.page_port, UPDATE_PAGE_EVERY, console) as page:
            yield RunningStack(
                deployed=deployed, codat=codat, dry_run=settings.dry_run, processes=processes, page_url=page.url
            )


def _require_free_port(variable: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalRunError(
                f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}): "
                f"stop the process that uses it, or choose another port with {variable}=<port>."
            ) from error


def _start_sandbox(processes: Processes, settings: Settings, codat: Codat) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "codat-sandbox"),
        "SANDBOX_API_KEY": codat.api_key,
        "SANDBOX_SIGNING_SECRET": codat.signing_secret,
    }
    port = settings.sandbox_port
    command = [sys.executable, "-m", "codat_sandbox", "--port", str(port)]
    command += ["--webhooks-lost", str(settings.webhooks_lost)]
    processes.serve("Codat sandbox", command, environment, port)


def _deploy(processes: Processes, settings: Settings, codat: Codat, scratch: Path, progress: Progress) -> Outputs:
    context: Mapping[str, str] = {
        "local": "true",
        "dashboard": "true",
        "codat_base_url": codat.base_url,
        "dry_run": "true" if settings.dry_run else "false",
        "check_schedule": EVERY_MINUTE,
        "queue_schedule": EVERY_MINUTE,
        "start_paused": "false",
    }
    deploy.create_asset_bucket()
    with progress.step("Deploying the stack (cdk deploy)"):
        outputs = deploy.deploy(processes, context, scratch)
    deploy.enable_time_to_live(outputs)
    deploy.put_secrets(outputs, codat.api_key, codat.signing_secret)
    return outputs


def _exports(settings: Settings, codat: Codat) -> str:
    variables = local_aws.tool_environment(settings.local_aws_port) | {"CODAT_BASE_URL": codat.base_url}
    if codat.is_sandbox:
        variables["CODAT_API_KEY"] = codat.api_key
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _write(path: Path, text: str) -> None:
    """Write a file atomically: a program that waits for it may read it as soon as it exists."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
