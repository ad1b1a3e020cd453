"""`make bench`: run benchmarks, print their figures, and write them to `results.md`.

`make bench ARGS="planner year"` runs only these, and keeps the figures of the others.
"""

import multiprocessing
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure, markdown, measured_by, show

ALONE = (
    "lambda_runtime",
    "receive_webhook",
    "webhooks",
    "page",
    "ensure_fresh",
)
"""Benchmarks that measure time: they run one after the other, on an otherwise idle machine."""

TOGETHER = (
    "write_units",
    "read_units",
    "webhook_path",
    "memory",
    "codat_calls",
    "products",
    "lost_responses",
    "what_codat_means",
    "nothing_false",
    "aws_cost",
    "attainment",
    "alarms",
    "planner",
    "scale",
    "year",
)
"""Benchmarks that count, or measure memory and processor time: each has a process, and all processors are used."""

RESULTS = Path(__file__).parent / "results.md"


def main(names: Sequence[str]) -> None:
    """Run some benchmarks, or all if none is named."""
    if unknown := set(names) - {*ALONE, *TOGETHER}:
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join((*ALONE, *TOGETHER))}.")
    measured = {name: measured_by(name) for name in ALONE if not names or name in names}
    together = [name for name in TOGETHER if not names or name in names]
    # A new process for each: memory would otherwise include what an earlier benchmark held.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, max_tasks_per_child=1) as pool:
        measured |= zip(together, pool.map(measured_by, together), strict=True)
    show("Benchmarks", [figure for figures in measured.values() for figure in figures])
    RESULTS.write_text(_results(_sections() | {name: _section(figures) for name, figures in measured.items()}), "utf-8")


def _sections() -> dict[str, str]:
    """Return what `results.md` has of each benchmark."""
    _, *parts = re.split(r"^## (\w+)\n\n", RESULTS.read_text("utf-8"), flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _section(figures: Sequence[Figure]) -> str:
    return f"{datetime.now(UTC):%d %B %Y}, Python {platform.python_version()}.\n\n{markdown(figures).strip()}"


def _results(sections: Mapping[str, str]) -> str:
    missed = sum(text.count("| NO |") for text in sections.values())
    listed = "".join(f"\n## {name}\n\n{sections[name]}\n" for name in (*ALONE, *TOGETHER) if name in sections)
    return (
        f"# Benchmarks\n\nWritten by `make bench`, on {platform.system()} {platform.machine()} with {os.cpu_count()} "
        "processors, against the local AWS and the Codat sandbox. Each section has the date on which it was measured. "
        f"A ratio is the figure divided by the one it is compared with. Targets missed: {missed}.\n{listed}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
