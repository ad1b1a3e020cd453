"""The log of a tick under the client of Lambda's runtime interface, in a process of its own, as Lambda sets it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from freshness.aws.dynamodb.tables import Tables
from freshness.policy import compiled
from tests.integration.deployed import ROOT, Deployed, secret

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client of the runtime interface is for Linux")
KINDS = ("companies", "feeds", "datasets", "control")
TIMEOUT = 300
"""Seconds of a tick."""


@pytest.fixture
def tables(stored_tables: Tables) -> Tables:
    return stored_tables


class RuntimeApi(BaseHTTPRequestHandler):
    """Lambda's runtime API for one invocation."""

    protocol_version = "HTTP/1.1"
    ended: threading.Event
    begun: threading.Event

    def do_GET(self) -> None:
        """Answer with an event; the second time, when the test is over."""
        if self.begun.is_set():
            self.ended.wait()
            return
        self.begun.set()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + TIMEOUT) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:f")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        """Accept the response of the function, or its error."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.ended.set()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def runtime_api() -> Iterator[tuple[str, threading.Event]]:
    """Serve Lambda's runtime API, and yield its address, and what is set once the invocation has ended."""
    ended = threading.Event()
    handler = type("Invocation", (RuntimeApi,), {"ended": ended, "begun": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"127.0.0.1:{server.server_port}", ended
        finally:
            ended.set()
            server.shutdown()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a folder with the functions, and the policy that is compiled for them."""
    for source in (ROOT / "functions").iterdir():
        (tmp_path / source.name).symlink_to(source)
    (tmp_path / compiled.FILE).write_text(compiled.compiled(ROOT / "freshness.toml"), encoding="utf-8")
    return tmp_path


def logged(handler: str, bundle: Path, tables: Tables, deployed: Deployed) -> list[dict[str, Any]]:
    """Run a function once, and return the records of its log."""
    variables = {
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
        "AWS_LAMBDA_FUNCTION_NAME": handler,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "LAMBDA_TASK_ROOT": str(bundle),
        "PYTHONPATH": str(bundle),
        "PYTHONUNBUFFERED": "1",
        "EVENT_BUS": "default",
        "CODAT_BASE_URL": deployed.sandbox.base_url,
        "CODAT_API_KEY_SECRET": secret(deployed.sandbox.api_key),
        **{f"{kind.upper()}_TABLE": getattr(tables, kind)._table.name for kind in KINDS},
    }
    with runtime_api() as (address, ended):
        runtime = [sys.executable, "-m", "awslambdaric", f"{handler}.handler"]
        environment = {**os.environ, **variables, "AWS_LAMBDA_RUNTIME_API": address}
        with subprocess.Popen(runtime, env=environment, cwd=bundle, stdout=subprocess.PIPE, text=True) as process:
            has_ended = ended.wait(60)
            process.terminate()
            output, _ = process.communicate()
    assert has_ended, output
    return [json.loads(line) for line in output.splitlines()]


def test_ticks_log_what_they_did_and_none_of_their_calls(bundle: Path, tables: Tables, deployed: Deployed) -> None:
    checked = ["Attainment was measured", "Feeds were rescheduled by another policy", "Codat syncs data types"]
    for handler, also in (("check_freshness", checked), ("queue_refreshes", [])):
        records = [each for each in logged(handler, bundle, tables, deployed) if "_aws" not in each]

        *others, end = records
        assert end["message"] == f"Tick of {handler} ended"
        assert end["counts"]["CodatCalls"] > 3
        assert len(others) == len(also), records
        assert all(each["message"].startswith(text) for each, text in zip(others, also, strict=True)), records
