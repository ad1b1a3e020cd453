"""Counting what happened in a tick, parts of which run in threads of their own."""

from collections import Counter
from threading import Lock

from freshness.aws.metrics import Metric

_lock = Lock()


class Counts(Counter[Metric]):
    """A counter that several threads may add to: `+=` on one of its items is two steps, between which others run."""

    def count(self, metric: Metric, number: int = 1) -> None:
        """Add a number to a metric."""
        with _lock:
            self[metric] += number
