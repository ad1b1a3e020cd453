"""`make bench`: run all benchmarks, print their figures, and write them to `results.md`."""

import importlib
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.figures import Figure, markdown, show

ALONE = (
    "cold_start",
    "lambda_runtime",
    "receive_webhook",
    "webhooks",
    "page",
    "pace",
    "ensure_fresh",
)
"""Benchmarks that measure time: they run one after the other, on an otherwise idle machine."""

TOGETHER = (
    "bundle",
    "write_units",
    "read_units",
    "memory",
    "codat_calls",
    "products",
    "lost_responses",
    "aws_cost",
    "attainment",
    "alarms",
    "planner",
    "office",
    "quiet",
    "scale",
    "year",
)
"""Benchmarks that count, or measure memory and processor time: each has a process, and all processors are used."""

RESULTS = Path(__file__).parent / "results.md"


def main() -> None:
    """Run all benchmarks."""
    started = time.monotonic()
    figures = [figure for name in ALONE for figure in _measure(name)]
    # A new process for each: memory would otherwise include what an earlier benchmark held.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, max_tasks_per_child=1) as pool:
        for measured in pool.map(_measure, TOGETHER):
            figures += measured
    show("Benchmarks", figures)
    RESULTS.write_text(_results(figures, timedelta(seconds=round(time.monotonic() - started))), encoding="utf-8")


def _measure(name: str) -> Sequence[Figure]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    figures: Sequence[Figure] = importlib.import_module(f"bench.{name}").measure()
    print(f"    {name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return figures


def _results(figures: Sequence[Figure], took: timedelta) -> str:
    missed = sum(not figure.is_met for figure in figures)
    return (
        "# Benchmarks\n\n"
        f"Written by `make bench` on {datetime.now(UTC):%d %B %Y}, in {took}, on {platform.system()} "
        f"{platform.machine()} with {os.cpu_count()} processors and Python {platform.python_version()}, against the "
        "local AWS and the Codat sandbox. A ratio is the figure divided by the one it is compared with. "
        f"Targets missed: {missed}.\n\n{markdown(figures)}"
    )


if __name__ == "__main__":
    main()
