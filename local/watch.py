"""Keeps the loop of a running stack going and shows what becomes of it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.live import Live

from cli.errors import CommandError
from cli.fleet import Fleet, read_fleet
from cli.target import Target
from cli.ticks import run_tick, ticks_client
from freshness.domain.feed import FeedKey
from local.display import WOULD_BE_QUEUED, LiveTable, state_of, states_text
from local.errors import LocalRunError
from local.stack import RunningStack

LOOK_SECONDS = 1.0
COUNT_EVERY = timedelta(seconds=15)
NUDGE_SECONDS = 10.0
"""The pause between nudges: the finest grain of the schedules, a minute, is long for someone who looks on."""


class Nudges(threading.Thread):
    """Runs the scheduled functions at once and then every few seconds; `trouble` says how the last round failed."""

    def __init__(self, target: Target) -> None:
        super().__init__(name="nudges", daemon=True)
        self.trouble = ""
        self._functions = (target.outputs.check_freshness_function, target.outputs.queue_refreshes_function)
        self._stopped = threading.Event()
        self._client = ticks_client(target)

    def run(self) -> None:
        """Nudge until stopped."""
        while True:
            self.trouble = " ".join(filter(None, map(self._run_tick, self._functions)))
            if self._stopped.wait(NUDGE_SECONDS):
                return

    def _run_tick(self, function: str) -> str:
        """Run a function; how that failed, or nothing if it did not."""
        try:
            run_tick(self._client, function)
        except CommandError as error:
            return str(error)
        except (BotoCoreError, ClientError) as error:
            return f"{function} could not be run: {error}."
        return ""

    def stop(self) -> None:
        """Have it end after the run that it is at."""
        self._stopped.set()


@contextmanager
def nudged(target: Target) -> Iterator[Nudges]:
    """Have both scheduled functions run at once and then every few seconds."""
    nudges = Nudges(target)
    nudges.start()
    try:
        yield nudges
    finally:
        nudges.stop()


@dataclass(frozen=True, slots=True)
class Look:
    """The fleet, how many refreshes were queued so far, and the time since the first look."""

    fleet: Fleet
    refreshes: int
    elapsed: timedelta


def watch(stack: RunningStack, console: Console, run_for: timedelta | None) -> Look:
    """Show the fleet until the time is up, and return the last look at it.

    Raises:
        LocalRunError: something that was started no longer runs.
    """
    with nudged(stack.target) as nudges:
        try:
            if console.is_terminal:
                return _show_live(stack, nudges, console, run_for)
            return _show_lines(stack, nudges, console, run_for)
        except (BotoCoreError, ClientError) as error:
            stack.processes.check()
            raise LocalRunError(f"The local AWS does not answer as it should: {error}. Run this again.") from error


def _show_live(stack: RunningStack, nudges: Nudges, console: Console, run_for: timedelta | None) -> Look:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for look in _looks(stack, run_for):
            notes = [nudges.trouble] if nudges.trouble else []
            live.update(LiveTable(look.fleet, _title(stack, look), notes, stack.dry_run), refresh=True)
    return look


def _show_lines(stack: RunningStack, nudges: Nudges, console: Console, run_for: timedelta | None) -> Look:
    states: dict[FeedKey, str] = {}
    trouble, counted = "", timedelta()
    for look in _looks(stack, run_for):
        texts = [nudges.trouble] if nudges.trouble not in ("", trouble) else []
        trouble = nudges.trouble
        count_is_due = len(look.fleet.lines) != len(states) or look.elapsed - counted >= COUNT_EVERY
        for line in look.fleet.lines:
            before, state = states.get(line.key), state_of(line, stack.dry_run)
            states[line.key] = state
            if state != before and (before is not None or state == WOULD_BE_QUEUED):
                change = f"{line.data_type} {before or 'new'} → {state}"
                texts.append(f"{line.company_name}: {change} ({line.why}) {line.dataset_id}")
        if count_is_due:
            counted = look.elapsed
            texts.append(states_text(look.fleet).plain)
        for text in texts:
            console.print(f"{_clock(look.elapsed)} {text}", highlight=False, markup=False, soft_wrap=True)
    return look


def _looks(stack: RunningStack, run_for: timedelta | None) -> Iterator[Look]:
    """The fleet, again and again until the time is up."""
    started = time.monotonic()
    while True:
        elapsed = timedelta(seconds=time.monotonic() - started)
        stack.processes.check()
        fleet = read_fleet(stack.target.store, stack.target.policy, datetime.now(UTC))
        yield Look(fleet, stack.refreshes(), elapsed)
        if run_for is not None and elapsed >= run_for:
            return
        time.sleep(LOOK_SECONDS)


def _title(stack: RunningStack, look: Look) -> str:
    refreshes = "dry run" if stack.dry_run else f"{look.refreshes} refreshes queued"
    return f"Codat Freshness · {stack.codat.base_url} · {refreshes} · {_clock(look.elapsed)} · Ctrl-C stops it"


def _clock(elapsed: timedelta) -> str:
    minutes, seconds = divmod(int(elapsed.total_seconds()), 60)
    return f"{minutes}:{seconds:02}"
