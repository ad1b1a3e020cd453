"""`make chaos`: run many random histories, every kill point, and each fault put back. Write `chaos/results.md`."""

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from chaos import kill_points
from chaos.faults import PROFILES, Faults
from chaos.history import Violation, simulate
from chaos.seeded import SEEDED, is_found

HISTORIES = 10_000
SKEWS = (timedelta(0), timedelta(0), timedelta(minutes=3), timedelta(minutes=-3))
"""How far the functions' clock is ahead of Codat's. Histories take these values in turn."""
CHUNK = 20
RESULTS = Path(__file__).parent / "results.md"


@dataclass
class Outcome:
    """How many runs of one kind there were, and the violations that they found."""

    name: str
    runs: int = 0
    violations: list[str] = field(default_factory=list)


def histories(faults: Faults, seeds: range) -> Outcome:
    """Run a history for each seed, with a fault profile."""
    logging.disable(logging.CRITICAL)
    outcome = Outcome(faults.name)
    for seed in seeds:
        try:
            simulate(seed, faults, SKEWS[seed % len(SKEWS)])
        except Violation as violation:
            outcome.violations.append(f"seed {seed}: {violation}")
        outcome.runs += 1
    return outcome


def points(name: str) -> Outcome:
    """Run a scenario once for each point at which its function can be killed."""
    logging.disable(logging.CRITICAL)
    outcome = Outcome(name)
    for point in count():
        try:
            was_killed = kill_points.kill(name, point)
        except Violation as violation:
            outcome.violations.append(f"point {point}: {violation}")
            was_killed = True
        if not was_killed:
            return outcome
        outcome.runs += 1
    raise AssertionError


def fault(number: int) -> Outcome:
    """Check that a test finds the fault with this number when it is put back."""
    violations = [] if is_found(number) else [f"fault {number} is not found by {SEEDED[number].found_by}"]
    return Outcome(str(number), runs=1, violations=violations)


def main() -> int:
    """Run everything, show progress, and write the results. Return 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--histories", type=int, default=HISTORIES, help="how many, over all fault profiles")
    chosen = parser.parse_args()
    each = chosen.histories // len(PROFILES)
    chunks = [
        (faults, range(start, min(start + CHUNK, each))) for faults in PROFILES for start in range(0, each, CHUNK)
    ]
    started = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool, Progress(console=Console(stderr=True)) as progress:
        killed = pool.map(points, kill_points.SCENARIOS)
        ran = pool.map(histories, *zip(*chunks, strict=True))
        by_point = _sum(_shown(progress, "kill points", killed, len(kill_points.SCENARIOS)))
        by_profile = _sum(_shown(progress, "histories", ran, len(chunks)))
        by_fault = list(_shown(progress, "faults put back", pool.map(fault, SEEDED), len(SEEDED)))
    seconds = time.monotonic() - started
    RESULTS.write_text(_report(by_profile, by_point, by_fault, seconds), encoding="utf-8")
    violations = [text for outcome in (*by_profile, *by_point, *by_fault) for text in outcome.violations]
    for text in violations:
        sys.stderr.write(f"{text}\n\n")
    sys.stderr.write(f"{len(violations)} violations in {seconds:.0f} seconds; see {RESULTS.name}\n")
    return 1 if violations else 0


def _shown(progress: Progress, name: str, outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    yield from progress.track(outcomes, total=total, description=name)


def _sum(outcomes: Iterable[Outcome]) -> list[Outcome]:
    total: dict[str, Outcome] = {}
    for outcome in outcomes:
        into = total.setdefault(outcome.name, Outcome(outcome.name))
        into.runs += outcome.runs
        into.violations += outcome.violations
    return list(total.values())


def _report(by_profile: list[Outcome], by_point: list[Outcome], by_fault: list[Outcome], seconds: float) -> str:
    counts = Counter({"histories": sum(o.runs for o in by_profile), "points": sum(o.runs for o in by_point)})
    lines = [
        "# What a long run found",
        "",
        f"Written by `make chaos`: {counts['histories']} histories and {counts['points']} kill points "
        f"in {seconds / 60:.0f} minutes.",
        "",
        "Of each must hold: no refresh is queued twice, no feed is shown fresher than it is, every dataset ends, every",
        "refresh is published, no pause or request is lost, and every promise is kept again within two ticks.",
        "",
        *_table("fault profile", "histories", by_profile),
        "",
        *_table("scenario, killed before and after each call", "points", by_point),
        "",
        "Faults that the code once had are put back one at a time, and must be found:",
        "",
        "| fault | found by | |",
        "| --- | --- | --- |",
        *(_fault_row(outcome) for outcome in by_fault),
    ]
    return "\n".join(lines) + "\n"


def _fault_row(outcome: Outcome) -> str:
    seeded = SEEDED[int(outcome.name)]
    test = seeded.found_by.partition("::")[2].replace("_", " ").removeprefix("test ")
    return f"| {seeded.what} | {test} | {'not found' if outcome.violations else 'found'} |"


def _table(name: str, runs: str, outcomes: list[Outcome]) -> list[str]:
    rows = [f"| {outcome.name} | {outcome.runs} | {len(outcome.violations)} |" for outcome in outcomes]
    return [f"| {name} | {runs} | violations |", "| --- | --- | --- |", *rows]


if __name__ == "__main__":
    sys.exit(main())
