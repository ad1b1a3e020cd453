"""Bounded concurrency over an iterable."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Thing = TypeVar("Thing")


async def for_each(
    things: Iterable[Thing], work: Callable[[Thing], Awaitable[None]], *, at_once: int, go_on: Callable[[], bool]
) -> bool:
    """Await `work` for each thing, at most `at_once` at a time, for as long as `go_on()`.

    Things are taken one by one as they are needed. Returns whether all of them were done.
    """
    remaining = iter(things)
    done = True

    async def worker() -> None:
        nonlocal done
        for thing in remaining:
            if not go_on():
                done = False
                return
            await work(thing)

    async with asyncio.TaskGroup() as workers:
        for _ in range(at_once):
            workers.create_task(worker())
    return done
