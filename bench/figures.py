"""What benchmarks give: figures, each beside what it is measured against and the target it is to reach."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

WIDTH = 150
"""Columns that a table takes at least: in a narrower terminal its lines wrap, but stay readable in a file."""
HEADINGS = ("what", "figure", "against", "ratio", "target", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured.

    A target is a bound on the ratio of `value` to `floor` where there is a floor, else on `value`. A figure without
    a target is there to be known.
    """

    what: str
    value: float
    unit: str
    against: str = ""
    """What the floor is, or under which conditions the value holds."""
    floor: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the floor the value is."""
        return None if self.floor is None else self.value / self.floor

    @property
    def is_met(self) -> bool:
        """Whether the target is reached; a figure without a target has nothing to miss."""
        bound = self.value if self.ratio is None else self.ratio
        return (self.at_most is None or bound <= self.at_most) and (self.at_least is None or bound >= self.at_least)

    @property
    def target(self) -> str:
        """The target in words; empty if there is none."""
        unit = self.unit if self.floor is None else "x"
        bounds = (("at most", self.at_most), ("at least", self.at_least))
        return ", ".join(f"{words} {_number(bound)} {unit}" for words, bound in bounds if bound is not None)

    def cells(self) -> tuple[str, ...]:
        """The figure as a line of a table, under `HEADINGS`."""
        against = self.against if self.floor is None else f"{self.against}: {_number(self.floor)} {self.unit}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = "" if not self.target else "yes" if self.is_met else "NO"
        return (self.what, f"{_number(self.value)} {self.unit}", against, ratio, self.target, met)


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures as a table."""
    table = Table(*HEADINGS, title=title, title_justify="left")
    for figure in figures:
        table.add_row(*figure.cells(), style="" if figure.is_met else "bold red")
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(table)


def markdown(figures: Sequence[Figure]) -> str:
    """Figures as a table in Markdown."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *(figure.cells() for figure in figures)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _number(value: float) -> str:
    """Three significant digits, or all that stand before the point."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
