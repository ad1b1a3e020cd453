"""HTML of the page, for three media: a file, a server on this machine, and a widget of CloudWatch.

Every value is escaped by the template, and shortened: names of companies and messages of platforms are untrusted input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from freshness.app.page.verdict import verdict
from freshness.app.page.view import PageView, TurnView
from freshness.app.reading.diagnosis import Turn, parties
from freshness.app.reading.text import SYMBOLS, changed, changes, duration, moment, percent, read_times
from freshness.app.reading.views import Explanation
from freshness.domain.clean_text import shown
from freshness.domain.companies.pause import Pause

LARGEST = 300_000
"""The most bytes of a page."""
_SIZES = ((200, 500), (50, 80), (5, 40))
"""The most entries of a list and characters of a text. The page is cut to the first pair that makes it small enough.

Only very long names and messages need the second pair or the third.
"""


class Medium(StrEnum):
    """Where the page is read, which decides what its links do."""

    FILE = "file"
    """The page reads nothing more: a cell opens what the page already has about the feed."""
    SERVER = "server"
    """`stack_access.page_server` answers: a cell opens the feed's own page, and links are read when clicked."""
    WIDGET = "widget"
    """CloudWatch invokes `show_page`, and `act_on_page` for what changes something. It allows no script."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a page is shown (a file, a server or CloudWatch's widget), and what it needs there."""

    medium: Medium
    theme: str = ""
    """`light` or `dark`; empty for what the reader's system prefers."""
    function_arn: str = ""
    """The function that a widget invokes to show more."""
    acting_function_arn: str = ""
    """The function that a widget's buttons invoke to change something."""
    update_every: timedelta = timedelta(seconds=15)
    """How often a page of a server updates itself."""
    console: str = ""
    """Where the console of a Codat sandbox is served; empty if there is none."""
    nonce: str = ""
    """The value by which the server's security policy recognises the page's own script."""


def render(view: PageView, frame: Frame) -> str:
    """Return the page as HTML: a whole document, or for a widget the inside of one."""
    return _rendered("page.html", view=view, frame=frame)


def render_explanations(explanations: list[Explanation], frame: Frame, pause: Pause | None = None) -> str:
    """Return the page of one data type of a company: everything known about it, for each connection.

    `pause` is the pause of its company, if there is one.
    """
    return _rendered("explain.html", explanations=explanations, pause=pause, frame=frame)


def render_text(text: str, url: str, frame: Frame) -> str:
    """Return a page with one sentence, and an address, if there is one."""
    is_safe = url.startswith(("https://", "http://"))
    return _rendered("text.html", text=text, url=url if is_safe else "", frame=frame)


def _rendered(template: str, **values: Any) -> str:
    html = ""
    for most, longest in _SIZES:
        html = _environment().get_template(template).render(most=most, longest=longest, **values)
        if len(html.encode()) <= LARGEST:
            break
    return html


@pass_context
def _shown(context: Context, value: object) -> object:
    """Shorten each text that a template shows. HTML stays whole, also what the filter `e` returns."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return shown(value, context["longest"])


def _whom(steps: Sequence[TurnView], turn: Turn) -> str:
    """Return the name of the party that must take these steps. Without steps, name the kind of party."""
    waiting = parties((each.diagnosis, each.feeds) for each in steps)
    return waiting[0].name if waiting else Turn(turn).waited_for


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "changed": changed,
        "changes": changes,
        "duration": duration,
        "moment": moment,
        "percent": percent,
        "read_times": read_times,
        "verdict": verdict,
        "whom": _whom,
    }
    environment.globals |= {
        "symbols": SYMBOLS,
        "milliseconds": timedelta(milliseconds=1),
        "waited_for": {turn: turn.waited_for for turn in Turn if turn is not Turn.NOBODY},
    }
    return environment
