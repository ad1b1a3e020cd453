"""`make bench`: run benchmarks, print their figures, and write `results.md` and `details.md`.

`make bench ARGS="planner year"` runs only these, and keeps the figures of the others, as it keeps those of one that
fails. `make bench ARGS=--stale` runs none: it names those whose code has changed since they were measured, and fails if
there are any.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context

from bench import goals
from bench.figures import Figure, measured_by, show
from bench.results import load, measured_now, save, stale

ALONE = ("lambda_runtime", "webhooks", "cold_starts")
"""Benchmarks that measure time: they run one after the other, on an otherwise idle machine."""

TOGETHER = (
    "page",
    "units",
    "webhook_path",
    "waiting_callers",
    "pace",
    "codat_calls",
    "products",
    "year",
    "what_codat_means",
    "nothing_false",
    "aws_cost",
    "planner",
    "decisions",
)
"""Benchmarks that count, or measure memory or processor time: all processors are used, the longest first."""

ALL = (*ALONE, *TOGETHER)


def main(names: Sequence[str]) -> None:
    """Run some benchmarks, or all if none is named."""
    if names == ["--stale"]:
        sys.exit(_stale())
    if unknown := set(names) - set(ALL):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(ALL)}.")
    chosen = names or ALL
    failed = _run([name for name in ALONE if name in chosen], at_once=1)
    failed += _run([name for name in TOGETHER if name in chosen], at_once=os.cpu_count() or 1)
    known = load()
    show("Benchmarks", [figure for name in ALL if name in chosen and name in known for figure in known[name].figures])
    goals.show([figure for each in known.values() for figure in each.figures])
    if failed:
        sys.exit(f"These failed, and their figures are of an earlier run: {', '.join(failed)}.")


def _run(names: Sequence[str], at_once: int) -> list[str]:
    """Run benchmarks, so many at a time, and save the figures of each as it ends. Return those that failed."""
    known = load()
    longest_first = sorted(names, key=lambda name: -known[name].seconds if name in known else 0)
    failed = []
    with ThreadPoolExecutor(at_once) as pool:
        running = {pool.submit(_in_new_process, name, is_alone=at_once == 1): name for name in longest_first}
        for ended in as_completed(running):
            name = running[ended]
            if error := ended.exception():
                traceback.print_exception(error)
                failed.append(name)
                continue
            known[name] = measured_now(name, *ended.result())
            save(known, ALL)
    return failed


def _in_new_process(name: str, *, is_alone: bool) -> tuple[Sequence[Figure], float]:
    """Run a benchmark. Its memory would otherwise include what an earlier one in the same process held."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measured_by, name, is_alone=is_alone).result()


def _stale() -> int:
    """Print the benchmarks whose code has changed since they were measured, and return the exit status."""
    measured = load()
    found = stale(measured)
    for name in found:
        print(f"{name}: its code has changed since it was measured at commit {measured[name].commit}")
    return 1 if found else 0


if __name__ == "__main__":
    main(sys.argv[1:])
