"""A process with the share of a processor that Lambda gives a function: one processor for 1,769 MB of memory.

The process is stopped each time it has used its share of a period.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY_OF_A_PROCESSOR = 1769
"""The megabytes with which Lambda gives a function one processor."""
PERIOD = 0.02
"""The seconds of a period. In each of them the share may be used, as in Lambda."""
LOOK_EVERY = 0.0005


def share_of(memory: int) -> float:
    """Return the share of a processor that a function with so many megabytes has."""
    return memory / MEMORY_OF_A_PROCESSOR


@contextmanager
def limited(process: int, share: float) -> Iterator[None]:
    """Limit a process to a share of a processor during the `with` block."""
    is_over = threading.Event()
    limiter = threading.Thread(target=_limit, args=(process, share, is_over))
    limiter.start()
    try:
        yield
    finally:
        is_over.set()
        limiter.join()


def _limit(process: int, share: float, is_over: threading.Event) -> None:
    while not is_over.is_set():
        ends_at, used = time.monotonic() + PERIOD, _seconds_used(process)
        while time.monotonic() < ends_at and _seconds_used(process) - used < share * PERIOD:
            time.sleep(LOOK_EVERY)
        if time.monotonic() < ends_at:
            os.kill(process, signal.SIGSTOP)
            time.sleep(max(ends_at - time.monotonic(), 0.0))
            os.kill(process, signal.SIGCONT)


def _seconds_used(process: int) -> float:
    """Return how long the threads of a process have run."""
    tasks = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
