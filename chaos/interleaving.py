"""An event loop in simulated time in which functions of the executor interleave at every call to AWS."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar, TypeVarTuple

from greenlet import getcurrent, greenlet

from simulate.clock import SimulatedLoop

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

LONGEST_CALL = 0.05
"""Seconds that a call to AWS takes at most."""


class InterleavingLoop(SimulatedLoop):
    """A loop whose executor runs each function until its next `pause`, and goes on with it a random time later."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def run_in_executor(
        self, _executor: object, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        """Start a function, and return the future of its result."""
        future: asyncio.Future[Result] = self.create_future()

        def run() -> None:
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 - any error belongs to the code that awaits the result
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self._go_on(greenlet(run))
        return future

    def _go_on(self, function: Any, seconds: float = 0.0) -> None:
        if seconds:
            self.call_later(seconds, self._go_on, function)
            return
        pause = function.switch()
        if not function.dead:
            self.call_later(pause or self._random.uniform(0.0001, LONGEST_CALL), self._go_on, function)


def pause(seconds: float = 0.0) -> None:
    """Let others run while a function of the executor waits, for `seconds` or the time of one call.

    Outside such a function nothing happens.
    """
    function = getcurrent()
    if function.parent is not None:
        function.parent.switch(seconds)
