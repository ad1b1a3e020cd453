"""An event loop in simulated time, which passes only while everything in the loop waits, and then without delay."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

START = datetime(2026, 11, 23, 9, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """A selector that never waits, and adds up how long it would have waited, in seconds. No file is ever ready."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for something that will never happen")
        self.passed += max(0.0, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at a time, by default `START`.

    Functions for its executor are called immediately instead of in a thread, so that each run has the same order.
    """

    def __init__(self, start: datetime = START) -> None:
        self._simulated = _Selector()
        self._start = start
        super().__init__(self._simulated)

    def time(self) -> float:
        """Return the simulated seconds since the start."""
        return self._simulated.passed

    def run_in_executor(
        self, _executor: object, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        """Call a function, and return a future that is done."""
        future: asyncio.Future[Result] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - any error belongs to the code that awaits the result
            future.set_exception(error)
        return future

    def clock(self) -> datetime:
        """Return the simulated time."""
        return self._start + timedelta(seconds=self.time())


def simulate(main: Callable[[SimulatedLoop], Coroutine[Any, Any, Result]], start: datetime = START) -> Result:
    """Run a coroutine in simulated time, and return its result."""
    loop = SimulatedLoop(start)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
