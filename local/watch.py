"""Keeps the loop of a running stack going and shows what becomes of it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.live import Live

from freshness.policy import Policy
from freshness.row import State
from local.deploy import Outputs
from local.display import LiveTable, states_text
from local.errors import LocalRunError
from local.fleet import Fleet, FleetReader
from local.stack import RunningStack

LOOK_SECONDS = 1.0
COUNT_EVERY = timedelta(seconds=15)
NUDGE_SECONDS = 15.0
"""How long a nudge is waited with after another: the schedules' finest grain, a minute, is long to look on."""


class Nudges(threading.Thread):
    """Runs both scheduled functions at once and then every few seconds; `trouble` is how the last run failed."""

    def __init__(self, functions: tuple[str, ...]) -> None:
        super().__init__(name="nudges", daemon=True)
        self.trouble = ""
        self._functions = functions
        self._stopped = threading.Event()
        # A tick may take as long as a Lambda may live, and is not to be run twice.
        patient = Config(read_timeout=900, retries={"total_max_attempts": 1})
        self._lambda = boto3.client("lambda", config=patient)

    def run(self) -> None:
        """Nudge until stopped, or until the local AWS is gone: whoever watches the processes tells of that."""
        while True:
            for function in self._functions:
                try:
                    answer = self._lambda.invoke(FunctionName=function, Payload=b"{}")
                except (BotoCoreError, ClientError) as error:
                    self.trouble = f"{function} could not be run: {error}"
                    continue
                payload = answer["Payload"].read()
                failure = json.loads(payload).get("errorMessage", "") if "FunctionError" in answer else ""
                self.trouble = f"{function} failed: {failure}" if "FunctionError" in answer else ""
                if self._stopped.is_set():
                    return
            if self._stopped.wait(NUDGE_SECONDS):
                return

    def stop(self) -> None:
        """Have it end after the run that it is at."""
        self._stopped.set()


@contextmanager
def nudged(outputs: Outputs) -> Iterator[Nudges]:
    """Have both scheduled functions run at once and then every few seconds."""
    nudges = Nudges((outputs.check_freshness_function, outputs.queue_refreshes_function))
    nudges.start()
    try:
        yield nudges
    finally:
        nudges.stop()


def watch(stack: RunningStack, policy: Policy, console: Console, run_for: timedelta | None) -> Fleet:
    """Show the fleet until the time is up, and return it as it is then.

    Raises:
        LocalRunError: something that was started no longer runs.
    """
    reader = FleetReader(stack.outputs, policy)
    with nudged(stack.outputs) as nudges:
        try:
            if console.is_terminal:
                return _show_live(stack, reader, nudges, console, run_for)
            return _show_lines(stack, reader, nudges, console, run_for)
        except (BotoCoreError, ClientError) as error:
            stack.processes.check()
            raise LocalRunError(f"The local AWS does not answer as it should: {error}. Run this again.") from error


def _show_live(
    stack: RunningStack, reader: FleetReader, nudges: Nudges, console: Console, run_for: timedelta | None
) -> Fleet:
    fleet = Fleet((), 0)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for fleet, elapsed in _looks(stack, reader, run_for):
            notes = [nudges.trouble] if nudges.trouble else []
            live.update(LiveTable(fleet, _title(stack, fleet, elapsed), notes), refresh=True)
    return fleet


def _show_lines(
    stack: RunningStack, reader: FleetReader, nudges: Nudges, console: Console, run_for: timedelta | None
) -> Fleet:
    fleet = Fleet((), 0)
    states: dict[tuple[str, str, str], State] = {}
    trouble, counted = "", timedelta()
    for fleet, elapsed in _looks(stack, reader, run_for):
        lines = [nudges.trouble] if nudges.trouble not in ("", trouble) else []
        trouble = nudges.trouble
        for line in fleet.lines:
            before = states.get(line.key)
            if before not in (None, line.state):
                lines.append(f"{line.company_name}: {line.data_type} was {before}, is {line.state} {line.dataset_id}")
        if len(fleet.lines) != len(states) or elapsed - counted >= COUNT_EVERY:
            counted = elapsed
            lines.append(states_text(fleet).plain)
        states = {line.key: line.state for line in fleet.lines}
        for text in lines:
            console.print(f"{_clock(elapsed)} {text}", highlight=False, markup=False, soft_wrap=True)
    return fleet


def _looks(stack: RunningStack, reader: FleetReader, run_for: timedelta | None) -> Iterator[tuple[Fleet, timedelta]]:
    """The fleet, again and again until the time is up, with the time since the first."""
    started = time.monotonic()
    while True:
        elapsed = timedelta(seconds=time.monotonic() - started)
        stack.processes.check()
        yield reader.read(datetime.now(UTC)), elapsed
        if run_for is not None and elapsed >= run_for:
            return
        time.sleep(LOOK_SECONDS)


def _title(stack: RunningStack, fleet: Fleet, elapsed: timedelta) -> str:
    refreshes = "dry run" if stack.dry_run else f"{fleet.refreshes} refreshes queued"
    return f"Codat Freshness · {stack.codat.base_url} · {refreshes} · {_clock(elapsed)} · Ctrl-C stops it"


def _clock(elapsed: timedelta) -> str:
    minutes, seconds = divmod(int(elapsed.total_seconds()), 60)
    return f"{minutes}:{seconds:02}"
