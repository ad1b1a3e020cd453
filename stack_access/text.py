"""How states are shown in a terminal."""

from freshness.app.reading.text import SYMBOLS
from freshness.domain.feed_values import State

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
