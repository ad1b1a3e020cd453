"""Timers in simulated time."""

import heapq
from collections.abc import Callable
from datetime import datetime


class Timers:
    """Callbacks ordered by the time at which they are due."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._added = 0

    @property
    def next_at(self) -> datetime | None:
        return self._heap[0][0] if self._heap else None

    def call_at(self, when: datetime, callback: Callable[[datetime], None]) -> None:
        """Call `callback` with `when` once that time is reached; of equal times, the one added first runs first."""
        self._added += 1
        heapq.heappush(self._heap, (when, self._added, callback))

    def run_until(self, now: datetime) -> None:
        """Run every callback that is due by `now`, including those that these callbacks add."""
        while self._heap and self._heap[0][0] <= now:
            at, _, callback = heapq.heappop(self._heap)
            callback(at)
