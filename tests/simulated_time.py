"""An event loop whose time passes only while everything in it waits, and then at once."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

START = datetime(2026, 11, 23, 9, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Does not wait: tells how long it would have."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for something that will never happen")
        self.passed += max(0.0, timeout)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """What is run in a thread elsewhere is run at once here, so that the same calls give the same history."""

    def __init__(self) -> None:
        self._simulated = _Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.passed

    def run_in_executor(
        self, _executor: object, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who awaits the result
            future.set_exception(error)
        return future

    def clock(self) -> datetime:
        """The simulated time of day."""
        return START + timedelta(seconds=self.time())


def simulate(main: Callable[[SimulatedLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine in simulated time."""
    loop = SimulatedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
