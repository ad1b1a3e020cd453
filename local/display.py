"""The fleet as text: a live table for a terminal, and a summary for the end of a run."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, repeat
from string import ascii_lowercase, ascii_uppercase

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from freshness.app.reading.text import duration
from freshness.app.reading.views import FeedView, FleetView
from freshness.domain.data_types import SourceType, source_type
from freshness.domain.feeds.feed_values import State
from stack_access.text import STYLES

RECENT = timedelta(seconds=10)
"""How long a change is highlighted."""
_OTHER_COLUMNS = 49
"""The width of the four columns that are never cut, and of the space between all."""
_NAME_WIDTH = 32
"""The greatest width of a company's name."""
WOULD_BE_QUEUED = "would queue"
_WIDE = 120
"""The width from which there is room for the reason."""
_REASON_WIDTH = 24


class LiveTable:
    """The fleet at one moment, cut to the height of the terminal.

    Each company has a line with the states of its data types, each under the letter of the data type. A legend names
    the letters. If there are more companies than lines, only those with a problem are shown, most problems first. Below
    are the data types that changed last, with their age, promise and dataset. Changes within `RECENT` are highlighted
    in both.
    """

    def __init__(self, fleet: FleetView, title: str, notes: Iterable[str], dry_run: bool, now: datetime) -> None:
        self._fleet = fleet
        self._dry_run = dry_run
        self._title = title
        self._notes = tuple(notes)
        self._since = now - RECENT

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        by_company: dict[str, list[FeedView]] = defaultdict(list)
        for feed in self._fleet.feeds:
            by_company[feed.company_id].append(feed)
        columns = _Columns.of(by_company.values())
        legend = columns.legend(options.max_width)
        height = (options.height or console.height) - len(self._notes) - len(legend) - 6
        companies, others = _chosen(list(by_company.values()), max(height * 2 // 3, 2))
        yield Text(self._title, style="bold", no_wrap=True, overflow="ellipsis")
        states = states_text(self._fleet)
        states.truncate(options.max_width, overflow="ellipsis")
        yield states
        yield from (Text(note, style="yellow", no_wrap=True, overflow="ellipsis") for note in self._notes)
        yield _companies_table(companies, columns, options.max_width, self._since)
        yield from (Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in [*others, *legend])
        rows = max(height - len(companies) - len(others), 1)
        yield _feeds_table(self._fleet.feeds, self._dry_run, options.max_width, rows, self._since)


def _chosen(companies: list[list[FeedView]], lines: int) -> tuple[list[list[FeedView]], list[str]]:
    """Return the companies to show in a number of lines, and a line about the others, if there are any."""
    if len(companies) <= lines:
        return companies, []
    problems = {feeds[0].company_id: sum(map(_is_problem, feeds)) for feeds in companies}
    found = [feeds for feeds in companies if problems[feeds[0].company_id]]
    shown = sorted(found, key=lambda feeds: -problems[feeds[0].company_id])[: lines - 1]
    hidden = len(found) - len(shown)
    with_problem = f"{hidden} more companies with a problem, which the page shows; " if hidden else ""
    return shown, [f"{with_problem}{len(companies) - len(found)} companies without a problem"]


def _is_problem(feed: FeedView) -> bool:
    return feed.is_broken or feed.state in (State.BLOCKED, State.FAILING)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The data types of a fleet by source type. Each has a letter, and the most feeds that one company has of it."""

    by_source_type: dict[SourceType, list[str]]
    letters: dict[str, str]
    counts: Counter[str]

    @classmethod
    def of(cls, companies: Iterable[list[FeedView]]) -> "_Columns":
        counts: Counter[str] = Counter()
        for feeds in companies:
            counts |= Counter(feed.data_type for feed in feeds)
        by_source_type: dict[SourceType, list[str]] = defaultdict(list)
        for data_type in sorted(counts):
            by_source_type[source_type(data_type)].append(data_type)
        ordered = [data_type for each in sorted(by_source_type) for data_type in by_source_type[each]]
        letters = dict(zip(ordered, chain(ascii_lowercase, ascii_uppercase, repeat("?")), strict=False))
        return cls({each: by_source_type[each] for each in sorted(by_source_type)}, letters, counts)

    def legend(self, width: int) -> list[str]:
        """Return the data type of each letter, in lines of at most `width` characters."""
        # A letter must not be separated from its name.
        names = (f"{letter}\u00a0{data_type}" for data_type, letter in self.letters.items())
        return textwrap.wrap("  ".join(names), width, break_on_hyphens=False)

    def header(self, data_types: Iterable[str], gap: str) -> str:
        """Return the letters of data types, each above the first of its symbols."""
        letters = ([self.letters[each]] + [" "] * (self.counts[each] - 1) for each in data_types)
        return gap.join(chain.from_iterable(letters))


def state_of(feed: FeedView, dry_run: bool) -> str:
    """Return a feed's state in words; in a dry run, also whether a refresh would be queued now."""
    return WOULD_BE_QUEUED if dry_run and feed.is_due else str(feed.state)


def states_text(fleet: FleetView) -> Text:
    counts = (Text(f"{symbol} {fleet.states[state]} {state}", style=style) for state, (symbol, style) in STYLES.items())
    return Text("  ").join(counts)


def summary(
    fleet: FleetView, refreshes: int, calls: int | None, codat_hours: Mapping[str, int], dry_run: bool
) -> Group:
    """Return the result of a run: states, promises, reasons, calls to Codat, and why each feed is not fresh.

    `calls` is `None` if Codat does not report its quota. `codat_hours` are the data types that Codat's own schedule
    reads, with its interval in hours.
    """
    in_all = "" if calls is None else f", with {calls} calls to Codat in all"
    spent = Text(f"{refreshes} refreshes were queued{in_all}.")
    parts: list[Text | Table] = [Text("\nSummary", style="bold"), states_text(fleet), spent, _promises_table(fleet)]
    doubled = sorted(codat_hours.keys() & {feed.data_type for feed in fleet.feeds})
    if doubled:
        names = ", ".join(f"{data_type} every {codat_hours[data_type]} h" for data_type in doubled)
        parts.append(Text(f"Read twice: Codat's own schedule also reads {names}. Turn it off at Codat."))
    if fleet.obstructed:
        parts.append(Text("Cannot be fresh:"))
        parts += _reasons((feed, feed.obstacle) for feed in fleet.obstructed)
    if fleet.overdue:
        parts.append(Text("Could be fresh, and are not:", style="bold red"))
        parts += _reasons((feed, f"{state_of(feed, dry_run)}, {feed.reason}") for feed in fleet.overdue)
    elif fleet.feeds:
        parts.append(Text("Every data type that can be fresh is fresh.", style="bold green"))
    else:
        parts.append(Text("No company with data was found at Codat.", style="bold red"))
    return Group(*parts)


def _promises_table(fleet: FleetView) -> Table:
    """Return a table of the promises that are kept, and of the decisions that were made, by part of the policy."""
    by_rule: dict[str, list[FeedView]] = defaultdict(list)
    for feed in fleet.feeds:
        by_rule[feed.rule].append(feed)
    table = Table("promised by", "kept", "decisions, with numbers of data types", box=None)
    for rule, feeds in sorted(by_rule.items(), key=lambda item: -len(item[1])):
        reasons = Counter(feed.reason for feed in feeds).most_common()
        promised = [feed.keeps_promise for feed in feeds if feed.is_promised]
        kept = f"{sum(promised)} of {len(promised)}"
        table.add_row(Text(rule), kept, Text(", ".join(f"{reason}: {count}" for reason, count in reasons)))
    return table


def _reasons(feeds: Iterable[tuple[FeedView, str]]) -> list[Text]:
    data_types: dict[tuple[str, str], list[str]] = defaultdict(list)
    for feed, reason in feeds:
        data_types[feed.company_name, reason].append(feed.data_type)
    return [
        Text(f"  {company_name}: {reason} ({', '.join(types)})") for (company_name, reason), types in data_types.items()
    ]


def _companies_table(companies: list[list[FeedView]], columns: _Columns, width: int, since: datetime) -> Table:
    """Return a table with a line for each company, and a column for each source type with a symbol for each feed."""
    name_width = min(max((len(feeds[0].company_name) for feeds in companies), default=0), _NAME_WIDTH)
    gap = " " if name_width + 2 * (columns.counts.total() + len(columns.by_source_type)) <= width else ""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=name_width)
    for each, data_types in columns.by_source_type.items():
        header = f"{each.lower()}\n{columns.header(data_types, gap)}"
        table.add_column(header, no_wrap=True, overflow="ellipsis")
    for feeds in companies:
        cells = (
            _symbols(feeds, data_types, columns.counts, gap, since) for data_types in columns.by_source_type.values()
        )
        table.add_row(feeds[0].company_name, *cells)
    return table


def _symbols(feeds: list[FeedView], data_types: list[str], counts: Counter[str], gap: str, since: datetime) -> Text:
    """Return the symbols of a company's feeds, each at the position of its data type."""
    symbols = []
    for data_type in data_types:
        of_type = [Text(STYLES[feed.state][0], _style(feed, since)) for feed in feeds if feed.data_type == data_type]
        symbols += of_type + [Text(" ")] * (counts[data_type] - len(of_type))
    return Text(gap).join(symbols)


def _style(feed: FeedView, since: datetime) -> str:
    """Return the style of a feed's state, which stands out if the feed has changed since a time."""
    _, style = STYLES[feed.state]
    return f"{style} reverse" if feed.changed_at >= since else style


def _feeds_table(feeds: tuple[FeedView, ...], dry_run: bool, width: int, height: int, since: datetime) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    is_wide = width >= _WIDE
    left = width - _OTHER_COLUMNS - (_REASON_WIDTH + 2 if is_wide else 0)
    for name in ("company", "data type"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=max(left // 2, 8))
    if is_wide:
        table.add_column("reason", no_wrap=True, overflow="ellipsis", max_width=_REASON_WIDTH)
    table.add_column("state", no_wrap=True, min_width=13)
    table.add_column("age", no_wrap=True, min_width=11, justify="right")
    table.add_column("promise", no_wrap=True, min_width=7, justify="right")
    table.add_column("dataset", no_wrap=True, min_width=8)
    for feed in sorted(feeds, key=lambda feed: feed.changed_at, reverse=True)[:height]:
        symbol, _ = STYLES[feed.state]
        table.add_row(
            feed.company_name,
            feed.data_type,
            *([feed.reason] if is_wide else []),
            Text(f"{symbol} {state_of(feed, dry_run)}", style=_style(feed, since)),
            duration(feed.age),
            duration(feed.promise),
            feed.dataset_id[:8],
        )
    return table
