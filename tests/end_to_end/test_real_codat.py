"""`CODAT_API_KEY=… make run`, with a separate sandbox in place of the real Codat."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.processes import free_port, guarded_processes
from local.settings import ROOT
from tests.end_to_end.conftest import environment_of_run, files_with

RUN = [sys.executable, "-m", "local.run"]
API_KEY = "canary-of-an-api-key"


@pytest.fixture(scope="module")
def codat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the sandbox."""
    port = free_port()
    command = [sys.executable, "-m", "codat_sandbox", "--port", str(port), "--companies", "3"]
    with guarded_processes(tmp_path_factory.mktemp("codat"), transient=[]) as processes:
        environment = os.environ | {"PYTHONPATH": str(ROOT / "codat-sandbox"), "SANDBOX_API_KEY": API_KEY}
        processes.serve("Codat", command, environment, port)
        yield f"http://127.0.0.1:{port}"


def assert_key_is_nowhere(folder: Path) -> None:
    processes = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True, check=True)
    assert API_KEY not in processes.stdout
    assert files_with(API_KEY, below=folder) == {API_KEY: set()}


def test_a_dry_run_shows_what_it_would_queue_and_writes_the_key_nowhere(codat: str, tmp_path: Path) -> None:
    environment = environment_of_run(tmp_path, CODAT_BASE_URL=codat, CODAT_API_KEY=API_KEY, RUN_FOR="15")
    with subprocess.Popen(RUN, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        output = ""
        for line in run.stdout:
            output += line
            if output.count("→") == 1:
                assert_key_is_nowhere(tmp_path)
    assert run.returncode == 1, "in a dry run, stale feeds stay stale"
    assert "No webhook is registered" in output
    assert "→ would queue" in output
    assert API_KEY not in output
    assert_key_is_nowhere(tmp_path)
    assert not [call for call in httpx.get(f"{codat}/sandbox/calls").json() if call.startswith("POST")]


def test_a_wrong_key_is_reported_before_anything_is_deployed(codat: str, tmp_path: Path) -> None:
    environment = environment_of_run(tmp_path, CODAT_BASE_URL=codat, CODAT_API_KEY="another")
    run = subprocess.run(RUN, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "refuses the API key: check CODAT_API_KEY" in run.stdout
    assert "cdk" not in run.stdout
