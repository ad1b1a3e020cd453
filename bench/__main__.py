"""`make bench`: run benchmarks, print their figures, and write `results.md` and `details.md`.

`make bench ARGS="planner year"` runs only these, and keeps the figures of the others. `make bench ARGS=--stale` runs
none: it names those whose code has changed since they were measured, and fails if there are any.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from bench import goals
from bench.figures import Figure, measured_by, show
from bench.results import load, measured_now, save, stale

ALONE = (
    "lambda_runtime",
    "receive_webhook",
    "webhooks",
    "webhook_backlog",
    "page",
    "ensure_fresh",
    "cold_starts",
)
"""Benchmarks that measure time: they run one after the other, on an otherwise idle machine."""

TOGETHER = (
    "write_units",
    "read_units",
    "webhook_path",
    "waiting_callers",
    "pace",
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


def main(names: Sequence[str]) -> None:
    """Run some benchmarks, or all if none is named."""
    if names == ["--stale"]:
        sys.exit(_stale())
    if unknown := set(names) - {*ALONE, *TOGETHER}:
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join((*ALONE, *TOGETHER))}.")
    measured = {name: measured_by(name, is_alone=True) for name in ALONE if not names or name in names}
    together = [name for name in TOGETHER if not names or name in names]
    # One pool of processes with `max_tasks_per_child` leaves processors idle on Python 3.11.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured |= zip(together, pool.map(_in_new_process, together), strict=True)
    show("Benchmarks", [figure for figures, _ in measured.values() for figure in figures])
    now = {name: measured_now(name, figures, seconds) for name, (figures, seconds) in measured.items()}
    known = load() | now
    goals.show([figure for each in known.values() for figure in each.figures])
    save(known, (*ALONE, *TOGETHER))


def _in_new_process(name: str) -> tuple[Sequence[Figure], float]:
    """Run a benchmark. Its memory would otherwise include what an earlier one in the same process held."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measured_by, name).result()


def _stale() -> int:
    """Print the benchmarks whose code has changed since they were measured, and return the exit status."""
    measured = load()
    found = stale(measured)
    for name in found:
        print(f"{name}: its code has changed since it was measured at commit {measured[name].commit}")
    return 1 if found else 0


if __name__ == "__main__":
    main(sys.argv[1:])
