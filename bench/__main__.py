"""`make bench`: run all benchmarks, print their figures, and write them to `results.md`."""

import importlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.figures import Figure, markdown, show

BENCHMARKS = (
    "cold_start",
    "lambda_runtime",
    "bundle",
    "receive_webhook",
    "webhooks",
    "write_units",
    "read_units",
    "page",
    "pace",
    "memory",
    "codat_calls",
    "ensure_fresh",
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
RESULTS = Path(__file__).parent / "results.md"


def main() -> None:
    """Run all benchmarks."""
    started = time.monotonic()
    figures: list[Figure] = []
    for name in BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        figures += importlib.import_module(f"bench.{name}").measure()
        print(f"    {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    show("Benchmarks", figures)
    RESULTS.write_text(_results(figures, timedelta(seconds=round(time.monotonic() - started))), encoding="utf-8")


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
