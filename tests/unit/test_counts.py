"""Counting from several threads."""

import sys
from concurrent.futures import ThreadPoolExecutor

from freshness.aws.metrics import Counts, Metric

TIMES = 2_000


def test_no_count_of_several_threads_is_lost() -> None:
    counts = Counts()

    def count(_: int) -> None:
        for _ in range(TIMES):
            counts.count(Metric.PROMISES_BROKEN)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(count, range(8)))
    finally:
        sys.setswitchinterval(interval)

    assert counts[Metric.PROMISES_BROKEN] == 8 * TIMES
