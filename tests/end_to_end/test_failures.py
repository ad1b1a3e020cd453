"""Failures of a local run: one sentence says what to do, and everything is stopped and removed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import local.run
from local.errors import LocalRunError
from local.processes import free_port, guarded_processes
from local.settings import ROOT
from tests.end_to_end.conftest import LONGEST_WAIT, environment_of_run, wait_for

RUN = [sys.executable, "-m", "local.run"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a run with its own ports and folder."""
    return environment_of_run(tmp_path)


def test_the_error_for_a_port_in_use_names_the_variable_that_changes_it(environment: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        run = subprocess.run(RUN, cwd=ROOT, env=environment | {"SANDBOX_PORT": port}, capture_output=True, text=True)
    assert run.returncode == 1
    assert f"Port {port} of 127.0.0.1 cannot be used" in run.stdout
    assert "SANDBOX_PORT=" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_the_error_for_an_invalid_setting_names_it(environment: dict[str, str]) -> None:
    run = subprocess.run(RUN, cwd=ROOT, env=environment | {"RUN_FOR": "soon"}, capture_output=True, text=True)
    assert run.returncode == 2
    assert "RUN_FOR cannot be used" in run.stdout


def test_the_error_for_an_unreachable_codat_names_the_setting(environment: dict[str, str]) -> None:
    real = {"CODAT_API_KEY": "secret-canary", "CODAT_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    run = subprocess.run(RUN, cwd=ROOT, env=environment | real, capture_output=True, text=True)
    assert run.returncode == 1
    assert "check CODAT_BASE_URL" in run.stdout
    assert "secret-canary" not in run.stdout + run.stderr


@pytest.mark.parametrize("node", [None, "exit 1"], ids=["missing", "too old"])
def test_without_a_usable_node_make_names_the_version_needed(tmp_path: Path, node: str | None) -> None:
    for tool in ("sh", "make"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    if node:
        (tmp_path / "node").write_text(f"#!/bin/sh\n{node}\n")
        (tmp_path / "node").chmod(0o755)
    run = subprocess.run(["make", "run"], cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert run.returncode != 0
    assert "Node.js 20 or newer is needed" in run.stderr


def test_with_too_old_a_python_make_names_the_version_needed(tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-dev.lock", "functions/requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    run = subprocess.run(["make", "test", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0
    assert "Python 3.11 or newer is needed" in run.stderr


def test_a_server_that_stops_by_itself_ends_the_run_with_its_last_output(tmp_path: Path) -> None:
    port = free_port()
    program = (
        f"import socket, sys; s = socket.create_server(('127.0.0.1', {port})); print('bye'); s.accept(); sys.exit(3)"
    )
    with guarded_processes(tmp_path, transient=[]) as processes:
        processes.serve("server", [sys.executable, "-u", "-c", program], os.environ, port)
        with pytest.raises(LocalRunError, match=r"server stopped by itself \(status 3\)") as raised:
            wait_for(processes.check)
    assert "bye" in raised.value.details


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_ends_by_itself_after_each_signal_to_stop(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def receive(_: object) -> int:
        signal.raise_signal(number)
        return 0

    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for each in handlers:
        signal.signal(each, signal.SIG_DFL)
    monkeypatch.setattr(local.run, "run", receive)
    try:
        assert local.run.main() == 128 + number
        assert {signal.getsignal(each) for each in handlers} == {signal.SIG_IGN}, "nothing interrupts the cleanup"
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_however_a_run_ends_no_process_or_file_is_left(
    environment: dict[str, str], tmp_path: Path, ended_by: signal.Signals
) -> None:
    folder = tmp_path / environment["LOCAL_AWS_PORT"]
    with (tmp_path / "output").open("wb") as output:
        run = subprocess.Popen(
            RUN,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # A shell that runs the tests in the background ignores SIGINT, and child processes inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        wait_for((folder / "logs" / "cdk-deploy.log").exists)
        # The guard, the local AWS, the sandbox, and the CDK
        started = wait_for(lambda: found if len(found := _descendants(run.pid)) > 3 else None)
        run.send_signal(ended_by)
        assert run.wait(timeout=LONGEST_WAIT) == (-signal.SIGKILL if ended_by is signal.SIGKILL else 128 + ended_by)
    finally:
        run.kill()
    wait_for(lambda: not _alive(started))
    wait_for(lambda: {path.name for path in folder.iterdir()} == {"logs"})
    assert "Traceback" not in (tmp_path / "output").read_text()


def _descendants(pid: int) -> set[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _alive(pids: set[int]) -> set[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    running = {int(pid) for pid, state in (line.split() for line in listed.splitlines()) if not state.startswith("Z")}
    return pids & running
