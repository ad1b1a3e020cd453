"""The results of benchmarks: figures, each with what it is compared with and its target."""

import importlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.table import Table

PROCESSORS = 2
WIDTH = 150
"""The minimum width of a table in columns. In a narrower terminal lines wrap, but a file stays readable."""
HEADINGS = ("what", "figure", "against", "ratio", "target", "met")


class Topic(StrEnum):
    """What users ask, in the order of the page that answers them."""

    CALLS = "Calls to Codat"
    PROMISES = "Promises kept, and nothing false"
    LATENCY = "How long one waits"
    MONEY = "Money at AWS"
    SCALE = "Scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value.

    A target is a bound on the ratio of `value` to `floor` if a floor is given, otherwise on `value`. A figure without
    a target is for information.
    """

    what: str
    value: float
    unit: str
    against: str = ""
    """What the floor is, or the conditions under which the value was measured."""
    floor: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    topic: Topic | None = None
    """Where the page for users has it; `None` if it is for maintainers only."""

    @property
    def ratio(self) -> float | None:
        """Return the value divided by the floor."""
        return None if self.floor is None else self.value / self.floor

    @property
    def is_met(self) -> bool:
        """Return whether the target is reached; always true without a target."""
        bound = self.value if self.ratio is None else self.ratio
        return (self.at_most is None or bound <= self.at_most) and (self.at_least is None or bound >= self.at_least)

    @property
    def target(self) -> str:
        """Return the target as text, empty if there is none."""
        unit = self.unit if self.floor is None else "x"
        bounds = (("at most", self.at_most), ("at least", self.at_least))
        return ", ".join(f"{words} {_number(bound)} {unit}" for words, bound in bounds if bound is not None)

    @property
    def in_short(self) -> str:
        """The value with its unit, and the ratio if there is one."""
        value = f"{_number(self.value)} {self.unit}".strip()
        return value if self.ratio is None else f"{value} ({self.ratio:.2f} x)"

    def cells(self) -> tuple[str, ...]:
        """Return the figure as a row of a table with `HEADINGS`."""
        against = self.against if self.floor is None else f"{self.against}: {_number(self.floor)} {self.unit}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = "" if not self.target else "yes" if self.is_met else "NO"
        return (self.what, f"{_number(self.value)} {self.unit}", against, ratio, self.target, met)


def measured_by(name: str, *, is_alone: bool = False) -> tuple[Sequence[Figure], float]:
    """Run the benchmark in a module of this package. Return its figures, and by how many seconds it prolongs a run.

    One that runs alone prolongs it by its time, and any other by half of its processor time, as there are two
    processors.
    """
    print(f"{name} ...", file=sys.stderr, flush=True)
    began, used = time.monotonic(), sum(os.times()[:4])
    figures: Sequence[Figure] = importlib.import_module(f"bench.{name}").measure()
    took = time.monotonic() - began if is_alone else (sum(os.times()[:4]) - used) / PROCESSORS
    print(f"    {name}: {took:.0f} s", file=sys.stderr, flush=True)
    return figures, took


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures as a table."""
    table = Table(*HEADINGS, title=title, title_justify="left")
    for figure in figures:
        table.add_row(*figure.cells(), style="" if figure.is_met else "bold red")
    console = Console(markup=False)
    console.width = max(console.width, WIDTH)
    console.print(table)


def markdown(figures: Sequence[Figure], *, with_targets: bool = True) -> str:
    """Return figures as a table in Markdown."""
    columns = len(HEADINGS) if with_targets else HEADINGS.index("target")
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(figure.cells() for figure in figures)]
    return "".join(f"| {' | '.join(row[:columns])} |\n" for row in rows)


@contextmanager
def without_logs() -> Iterator[None]:
    """Drop all log messages."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _number(value: float) -> str:
    """Return a number with three significant digits, or with all digits of its integer part."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
