"""How text and states are shown in a terminal."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from freshness.app.reading.text import SYMBOLS
from freshness.domain.clean_text import clean_lines
from freshness.domain.feeds.feed_values import State

_COLOURS = {
    State.FRESH: "green",
    State.QUIET: "magenta",
    State.REFRESHING: "cyan",
    State.STALE: "yellow",
    State.FAILING: "magenta",
    State.BLOCKED: "red",
    State.UNSUPPORTED: "dim",
    State.OFF: "dim",
}
STYLES = {state: (symbol, _COLOURS[state]) for state, symbol in SYMBOLS.items()}
"""The symbol and the rich style of each state."""


class CleanConsole(Console):
    """A terminal where text from others, such as a company's name, cannot move or hide other text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments to print, with their text cleaned. Control codes of this program itself stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(clean_lines(segment.text), segment.style)
