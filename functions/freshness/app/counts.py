"""Counting what happened in a tick, parts of which run in threads."""

from collections import Counter
from threading import Lock

from freshness.aws.metrics import Metric

_lock = Lock()


class Counts(Counter[Metric]):
    """A counter that threads may share. `+=` would take two steps, between which a second thread may run."""

    def count(self, metric: Metric, number: int = 1) -> None:
        """Add a number to a metric."""
        with _lock:
            self[metric] += number
