"""Webhooks at a steady rate while ticks run and Lambda processes are killed: `python -m bench.load --minutes 10`."""

import argparse
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import mean
from uuid import uuid4

import httpx
from rich.console import Console
from rich.progress import Progress

from bench.figures import Figure, show
from bench.webhooks import Message, Sender, stack_for_bench
from local.watch import running_ticks

WEBHOOKS_PER_SECOND = 10
FEEDS = 600
"""So many that the history of each still has all of its reads: a minute apart, for ten minutes."""
KILL_EVERY = 5.0
"""Seconds between two kills of a Lambda process."""
RETRY_AFTER = 5.0
"""Seconds after which a webhook that was not accepted is sent again, as Codat does."""
APPLIED_WITHIN = 900.0
"""Seconds. A message of a killed process returns to the queue after three minutes."""


@dataclass
class Load:
    """What was sent, killed and measured so far."""

    sender: Sender
    folder: Path
    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - a choice, not a secret
    accepted: list[Message] = field(default_factory=list)
    retried: int = 0
    killed: int = 0
    memory: list[float] = field(default_factory=list)
    """Megabytes of all processes of the local AWS, sampled every second."""

    def send(self, message: Message) -> None:
        """Send a message until it is accepted."""
        while self._status(message) != httpx.codes.ACCEPTED:
            self.retried += 1
            time.sleep(RETRY_AFTER)
        self.accepted.append(message)

    def _status(self, message: Message) -> int:
        try:
            return self.sender.send(message)
        except httpx.HTTPError:
            return 0

    def kill_one(self) -> None:
        """Kill a Lambda process with SIGKILL."""
        processes = list(_lambda_processes(self.folder))
        if processes:
            self.killed += 1
            os.kill(self.random.choice(processes), signal.SIGKILL)

    def sample_memory(self) -> None:
        """Sample the resident memory of the local AWS."""
        functions = set(_lambda_processes(self.folder))
        self.memory.append(sum(map(_megabytes, functions | {_parent(process) for process in functions})))


def measure(minutes: float) -> list[Figure]:
    """Send webhooks for some minutes, and wait until all are applied."""
    with stack_for_bench() as stack, running_ticks(stack.deployed), Sender(stack) as sender:
        outputs = stack.deployed.local_outputs
        load = Load(sender, outputs.parent if outputs else Path())
        _run(load, minutes * 60)
        applied_after = _wait_until_applied(load)
    third = len(load.memory) // 3
    first, last = mean(load.memory[third : 2 * third]), mean(load.memory[2 * third :])
    what = f"{WEBHOOKS_PER_SECOND} a second for {minutes:g} minutes, {load.killed} Lambda processes killed"
    return [
        Figure(what="webhooks lost", value=0, unit="", against=what),
        Figure(what="webhooks accepted", value=len(load.accepted), unit="", against=what),
        Figure(what="webhooks that were sent again", value=load.retried, unit="", against=what),
        Figure(what="the last applied after the last sent", value=applied_after, unit="s", against=what),
        Figure(what="memory in the last third", value=last, unit="MB", against=f"{first:.0f} MB in the second third"),
    ]


def _run(load: Load, seconds: float) -> None:
    run, started, next_kill = uuid4().hex[:8], time.monotonic(), KILL_EVERY
    total = round(seconds * WEBHOOKS_PER_SECOND)
    with ThreadPoolExecutor(40) as senders, Progress(console=Console(stderr=True)) as progress:
        for index in progress.track(range(total), description="sending"):
            elapsed = time.monotonic() - started
            time.sleep(max(0.0, index / WEBHOOKS_PER_SECOND - elapsed))
            data_type = f"measured-{run}-{index % FEEDS}"
            ended_at = datetime.now(UTC).replace(microsecond=0)
            senders.submit(load.send, Message(id=f"msg_{run}_{index}", data_type=data_type, ended_at=ended_at))
            if index % WEBHOOKS_PER_SECOND == 0:
                load.sample_memory()
            if elapsed >= next_kill:
                load.kill_one()
                next_kill += KILL_EVERY


def _wait_until_applied(load: Load) -> float:
    started = time.monotonic()
    while time.monotonic() - started < APPLIED_WITHIN:
        if load.sender.has_applied(load.accepted):
            return time.monotonic() - started
        time.sleep(1)
    raise TimeoutError("expected every accepted webhook to be applied: some are lost, or still in the queue")


def _lambda_processes(folder: Path) -> Iterator[int]:
    """Yield the processes of Lambda functions: children of the local AWS that run code in its folder."""
    code = f"{folder}/scratch/ministack/ministack-lambda"
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if code in command:
            yield int(directory.name)


def _parent(process: int) -> int:
    try:
        return int((Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return process


def _megabytes(process: int) -> float:
    try:
        pages = int((Path("/proc") / str(process) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Run the load, and show what was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("--minutes", type=float, default=10.0)
    show("Load", measure(parser.parse_args().minutes))


if __name__ == "__main__":
    main()
