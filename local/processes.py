"""Processes of a local run. Each has its own process group, and all are stopped when the run ends."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from local.errors import LocalRunError
from local.settings import ROOT

_START_SECONDS = 120.0
_LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Process:
    """A started process and the file with its output."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def failure(self, what: str) -> LocalRunError:
        """Return an error that says `what` happened, with the last lines of the output."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return LocalRunError(f"{what}; its full output is in {self.log}.", "\n".join(lines[-_LAST_LINES:]))


def free_port() -> int:
    """Return a port of 127.0.0.1 that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Processes:
    """Starts processes and detects when one fails. Create it with `guarded_processes`."""

    def __init__(self, logs: Path, guard: IO[bytes]) -> None:
        self._logs = logs
        self._guard = guard
        self._started: list[Process] = []
        self._servers: list[Process] = []

    def serve(self, name: str, command: Sequence[str], environment: Mapping[str, str], port: int) -> None:
        """Start a server, and wait until it accepts connections on `port` of 127.0.0.1.

        Raises:
            LocalRunError: it exited, or was not ready in time.
        """
        process = self._start(name, command, environment, ROOT)
        deadline = time.monotonic() + _START_SECONDS
        while not is_listening(port):
            if process.popen.poll() is not None:
                raise process.failure(f"{name} exited before it was ready")
            if time.monotonic() > deadline:
                raise process.failure(f"{name} was not ready within {_START_SECONDS:.0f} seconds")
            time.sleep(0.05)
        self._servers.append(process)

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """Run a command in a folder, and wait until it exits.

        Raises:
            LocalRunError: it exited with a status other than 0.
        """
        process = self._start(name, command, environment, folder)
        status = process.popen.wait()
        self._notify_guard(-process.popen.pid)
        if status != 0:
            raise process.failure(f"{name} failed: fix the error that it reports and run this again")

    def check(self) -> None:
        """Check that every server is running.

        Raises:
            LocalRunError: a server exited.
        """
        for server in self._servers:
            if server.popen.poll() is not None:
                raise server.failure(f"{server.name} stopped by itself (status {server.popen.returncode})")

    def reap(self) -> None:
        """Collect the exit statuses of ended processes, so that no zombie is left."""
        for process in self._started:
            process.popen.poll()

    def wait(self) -> None:
        """Wait until every process has ended, after the guard stopped them."""
        for process in self._started:
            process.popen.wait(timeout=_START_SECONDS)

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Process:
        log = self._logs / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._notify_guard(popen.pid)
        process = Process(name, popen, log)
        self._started.append(process)
        return process

    def _notify_guard(self, number: int) -> None:
        self._guard.write(b"%d\n" % number)
        self._guard.flush()


@contextmanager
def guarded_processes(logs: Path, transient: Iterable[Path]) -> Iterator[Processes]:
    """Yield a `Processes` with its logs in the folder `logs`.

    At the end, even if this process is killed, all its processes are stopped and the paths `transient` are deleted.
    """
    guard = subprocess.Popen(
        [sys.executable, "-m", "local.guard", *map(str, transient)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    pipe = cast(IO[bytes], guard.stdin)
    processes = Processes(logs, pipe)
    try:
        yield processes
    finally:
        pipe.close()
        while guard.poll() is None:
            processes.reap()
            time.sleep(0.02)
        processes.wait()


def is_listening(port: int) -> bool:
    """Return whether a server accepts connections on a port of 127.0.0.1."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
