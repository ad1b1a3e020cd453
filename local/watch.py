"""Running the ticks of a running stack, and showing its fleet."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.live import Live

from freshness.app.reading.views import FleetView
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed import FeedKey
from local.display import WOULD_BE_QUEUED, LiveTable, state_of, states_text
from local.errors import LocalRunError
from local.stack import RunningStack
from stack_access.errors import StackError
from stack_access.stack import DeployedStack, clock

SNAPSHOT_SECONDS = 1.0
STATES_EVERY = timedelta(seconds=15)
"""How often the number of feeds in each state is printed where there is no terminal."""
REFRESHES_EVERY = timedelta(seconds=5)
"""How often refreshes are counted, which reads all datasets."""
TICK_SECONDS = 10.0
"""The pause between ticks. A minute, the shortest interval of a schedule, is long for someone who is watching."""


class TickRunner(threading.Thread):
    """Runs the scheduled functions at once and then every few seconds.

    `error` is why the last run failed, empty if it did not.
    """

    def __init__(self, stack: DeployedStack) -> None:
        super().__init__(name="tick runner", daemon=True)
        self.error = ""
        self._check, self._queue = stack.outputs.check_freshness_function, stack.outputs.queue_refreshes_function
        self._stopped = threading.Event()
        self._stack = stack
        stack.functions  # noqa: B018 - made before there are threads, in which boto3 cannot make clients

    def run(self) -> None:
        """Run the functions until stopped."""
        # A function's first run takes seconds longer: that of the second passes during that of the first.
        starting = threading.Thread(target=self._run_tick, args=(self._queue,), daemon=True)
        starting.start()
        while True:
            found = self._run_tick(self._check)
            starting.join()
            self.error = " ".join(filter(None, (found, self._run_tick(self._queue))))
            if self._stopped.wait(TICK_SECONDS):
                return

    def _run_tick(self, function: str) -> str:
        """Run a function, and return why it failed; empty if it did not."""
        try:
            self._stack.invoke(function)
        except StackError as error:
            return str(error)
        except (BotoCoreError, ClientError) as error:
            return f"{function} could not be run: {error}."
        return ""

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def running_ticks(stack: DeployedStack) -> Iterator[TickRunner]:
    """Run both scheduled functions at once and then every few seconds, until the end of the block."""
    runner = TickRunner(stack)
    runner.start()
    try:
        yield runner
    finally:
        runner.stop()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fleet, how many refreshes were queued so far, and the time since the first snapshot."""

    fleet: FleetView
    refreshes: int
    elapsed: timedelta


def watch(stack: RunningStack, console: Console, run_for: timedelta | None) -> Snapshot:
    """Show the fleet until the time is up, and return the last snapshot.

    Raises:
        LocalRunError: a process of the run ended, or the local AWS failed.
    """
    with running_ticks(stack.deployed) as runner:
        try:
            if console.is_terminal:
                return _show_live(stack, runner, console, run_for)
            return _print_changes(stack, runner, console, run_for)
        except (BotoCoreError, ClientError) as error:
            stack.processes.check()
            raise LocalRunError(f"A call to the local AWS failed: {error}. Run this again.") from error


def _show_live(stack: RunningStack, runner: TickRunner, console: Console, run_for: timedelta | None) -> Snapshot:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for snapshot in _snapshots(stack, run_for):
            notes = [runner.error] if runner.error else []
            table = LiveTable(snapshot.fleet, _title(stack, snapshot), notes, stack.dry_run, clock())
            live.update(table, refresh=True)
    return snapshot


def _print_changes(stack: RunningStack, runner: TickRunner, console: Console, run_for: timedelta | None) -> Snapshot:
    states: dict[FeedKey, str] = {}
    error, printed_at = "", timedelta()
    for snapshot in _snapshots(stack, run_for):
        texts = [runner.error] if runner.error not in ("", error) else []
        error = runner.error
        states_are_due = len(snapshot.fleet.feeds) != len(states) or snapshot.elapsed - printed_at >= STATES_EVERY
        for feed in snapshot.fleet.feeds:
            before, state = states.get(feed.key), state_of(feed, stack.dry_run)
            states[feed.key] = state
            if state != before and (before is not None or state == WOULD_BE_QUEUED):
                change = f"{feed.data_type} {before or 'new'} → {state}"
                texts.append(f"{feed.company_name}: {change} ({feed.reason}) {feed.dataset_id}")
        if states_are_due:
            printed_at = snapshot.elapsed
            texts.append(states_text(snapshot.fleet).plain)
        for text in texts:
            console.print(f"{_minutes(snapshot.elapsed)} {text}", highlight=False, markup=False, soft_wrap=True)
    return snapshot


def _snapshots(stack: RunningStack, run_for: timedelta | None) -> Iterator[Snapshot]:
    """Yield a snapshot every second until the time is up."""
    started = time.monotonic()
    refreshes, counted_at = 0, -REFRESHES_EVERY
    while True:
        elapsed = timedelta(seconds=time.monotonic() - started)
        is_last = run_for is not None and elapsed >= run_for
        stack.processes.check()
        fleet = stack.queries.fleet(clock())
        if is_last or elapsed - counted_at >= REFRESHES_EVERY:
            refreshes, counted_at = _refreshes_queued(stack.deployed.tables), elapsed
        yield Snapshot(fleet, refreshes, elapsed)
        if is_last:
            return
        time.sleep(SNAPSHOT_SECONDS)


def _refreshes_queued(tables: Tables) -> int:
    """Return how many refreshes were queued, of those whose records are kept."""
    ended = {dataset.dataset_id for dataset in tables.datasets.scan() if dataset.trigger is not Trigger.EXTERNAL}
    in_flight = {
        feed.in_flight.dataset_id or "#".join(feed.key)
        for feed in tables.feeds.scan()
        if feed.in_flight and feed.in_flight.trigger is not Trigger.EXTERNAL
    }
    return len(ended | in_flight)


def _title(stack: RunningStack, snapshot: Snapshot) -> str:
    refreshes = "dry run" if stack.dry_run else f"{snapshot.refreshes} refreshes queued"
    return f"Codat Freshness · {stack.page_url} · {refreshes} · {_minutes(snapshot.elapsed)} · Ctrl-C stops it"


def _minutes(elapsed: timedelta) -> str:
    minutes, seconds = divmod(int(elapsed.total_seconds()), 60)
    return f"{minutes}:{seconds:02}"
