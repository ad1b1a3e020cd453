"""Keeps the loop of a running stack going and shows what becomes of it."""

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
from local.deploy import Outputs
from local.display import WOULD_BE_QUEUED, LiveTable, state_of, states_text
from local.errors import LocalRunError
from local.fleet import Fleet, FleetReader
from local.stack import RunningStack

LOOK_SECONDS = 1.0
COUNT_EVERY = timedelta(seconds=15)
NUDGE_SECONDS = 15.0
"""The pause between nudges: the finest grain of the schedules, a minute, is long for someone who looks on."""


class Nudges(threading.Thread):
    """Runs the scheduled functions at once and then every few seconds; `trouble` says how the last round failed."""

    def __init__(self, functions: tuple[str, ...]) -> None:
        super().__init__(name="nudges", daemon=True)
        self.trouble = ""
        self._functions = functions
        self._stopped = threading.Event()
        # A tick may take as long as a Lambda may live, and is not to be run twice.
        patient = Config(read_timeout=900, retries={"total_max_attempts": 1})
        self._lambda = boto3.client("lambda", config=patient)

    def run(self) -> None:
        """Nudge until stopped."""
        while True:
            self.trouble = " ".join(filter(None, map(self._invoke, self._functions)))
            if self._stopped.wait(NUDGE_SECONDS):
                return

    def _invoke(self, function: str) -> str:
        """Run a function; how that failed, or nothing if it did not."""
        try:
            answer = self._lambda.invoke(FunctionName=function, Payload=b"{}")
            payload = answer["Payload"].read()
        except (BotoCoreError, ClientError) as error:
            return f"{function} could not be run: {error}."
        return f"{function} failed: {payload.decode()}." if "FunctionError" in answer else ""

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
            live.update(LiveTable(fleet, _title(stack, fleet, elapsed), notes, stack.dry_run), refresh=True)
    return fleet


def _show_lines(
    stack: RunningStack, reader: FleetReader, nudges: Nudges, console: Console, run_for: timedelta | None
) -> Fleet:
    fleet = Fleet((), 0)
    states: dict[tuple[str, str, str], str] = {}
    trouble, counted = "", timedelta()
    for fleet, elapsed in _looks(stack, reader, run_for):
        texts = [nudges.trouble] if nudges.trouble not in ("", trouble) else []
        trouble = nudges.trouble
        count_is_due = len(fleet.lines) != len(states) or elapsed - counted >= COUNT_EVERY
        for line in fleet.lines:
            before, state = states.get(line.key), state_of(line, stack.dry_run)
            states[line.key] = state
            if state != before and (before is not None or state == WOULD_BE_QUEUED):
                texts.append(f"{line.company_name}: {line.data_type} {before or 'new'} → {state} {line.dataset_id}")
        if count_is_due:
            counted = elapsed
            texts.append(states_text(fleet).plain)
        for text in texts:
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
