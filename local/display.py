"""The fleet as text: a live table for a terminal, and a summary for the end."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from cli.fleet import Fleet, Line
from cli.output import STYLES, duration

_OTHER_COLUMNS = 44
"""The width of the four columns that are never cut, and of the space between all."""
WOULD_BE_QUEUED = "would queue"
_WIDE = 120
"""The width from which there is room for the reason."""


class LiveTable:
    """The fleet at one moment, cut to the height of the terminal.

    A line for each company shows the state of all its data types; below, the data types that moved last are shown
    with their age, promise and dataset.
    """

    def __init__(self, fleet: Fleet, title: str, notes: Iterable[str], dry_run: bool) -> None:
        self._fleet = fleet
        self._dry_run = dry_run
        self._title = title
        self._notes = tuple(notes)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it, as rich asks for it."""
        height = (options.height or console.height) - len(self._notes) - 4
        by_company: dict[str, list[Line]] = defaultdict(list)
        for line in self._fleet.lines:
            by_company[line.company_id].append(line)
        companies = list(by_company.values())[: max(height * 2 // 3, 1)]
        yield Text(self._title, style="bold", no_wrap=True, overflow="ellipsis")
        states = states_text(self._fleet)
        states.truncate(options.max_width, overflow="ellipsis")
        yield states
        yield from (Text(note, style="yellow", no_wrap=True, overflow="ellipsis") for note in self._notes)
        yield _companies_table(companies)
        yield _lines_table(self._fleet.lines, self._dry_run, options.max_width, max(height - len(companies), 1))


def state_of(line: Line, dry_run: bool) -> str:
    """A line's state in words; in a dry run, also whether a refresh would be queued now."""
    return WOULD_BE_QUEUED if dry_run and line.is_due else str(line.state)


def states_text(fleet: Fleet) -> Text:
    """How many data types are in each state."""
    counts = (Text(f"{symbol} {fleet.states[state]} {state}", style=style) for state, (symbol, style) in STYLES.items())
    return Text("  ").join(counts)


def summary(fleet: Fleet, refreshes: int, calls: int, codats_hours: Mapping[str, int], dry_run: bool) -> Group:
    """What a run came to: states, promises, reasons, calls to Codat, and why what is not fresh is not.

    `codats_hours` are the data types that Codat also reads by itself, every so many hours.
    """
    spent = Text(f"{refreshes} refreshes were queued, with {calls} calls to Codat in all.")
    parts: list[Text | Table] = [Text("\nSummary", style="bold"), states_text(fleet), spent, _promises_table(fleet)]
    doubled = sorted(codats_hours.keys() & {line.data_type for line in fleet.lines})
    if doubled:
        names = ", ".join(f"{data_type} every {codats_hours[data_type]} h" for data_type in doubled)
        parts.append(Text(f"Paid for twice: Codat's own schedule also reads {names}. Turn it off at Codat."))
    if fleet.hindered:
        parts.append(Text("Cannot be fresh:"))
        parts += _reasons((line, line.obstacle) for line in fleet.hindered)
    if fleet.overdue:
        parts.append(Text("Could be fresh, and are not:", style="bold red"))
        parts += _reasons((line, f"{state_of(line, dry_run)}, {line.why}") for line in fleet.overdue)
    elif fleet.lines:
        parts.append(Text("Every data type that can be fresh is fresh.", style="bold green"))
    else:
        parts.append(Text("No company with data was found at Codat.", style="bold red"))
    return Group(*parts)


def _promises_table(fleet: Fleet) -> Table:
    """What each part of the policy promises: of how many data types, how many of them it keeps, what was decided."""
    lines_of: dict[str, list[Line]] = defaultdict(list)
    for line in fleet.lines:
        lines_of[line.rule].append(line)
    table = Table("what of the policy promises it", "kept", "what was decided, of how many data types", box=None)
    for rule, lines in sorted(lines_of.items(), key=lambda each: -len(each[1])):
        reasons = Counter(line.why for line in lines).most_common()
        promised = [line.keeps_promise for line in lines if line.is_promised]
        kept = f"{sum(promised)} of {len(promised)}"
        table.add_row(Text(rule), kept, Text(", ".join(f"{reason}: {count}" for reason, count in reasons)))
    return table


def _reasons(lines: Iterable[tuple[Line, str]]) -> list[Text]:
    """A line of text for each company and reason."""
    data_types: dict[tuple[str, str], list[str]] = defaultdict(list)
    for line, reason in lines:
        data_types[line.company_name, reason].append(line.data_type)
    return [
        Text(f"  {company_name}: {reason} ({', '.join(types)})") for (company_name, reason), types in data_types.items()
    ]


def _companies_table(companies: list[list[Line]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=32)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for lines in companies:
        dots = Text(" ").join(Text(*STYLES[line.state]) for line in lines)
        table.add_row(lines[0].company_name, dots)
    return table


def _lines_table(lines: tuple[Line, ...], dry_run: bool, width: int, height: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in ("company", "data type"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=max((width - _OTHER_COLUMNS) // 2, 8))
    if width >= _WIDE:
        table.add_column("why", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=13)
    table.add_column("age", no_wrap=True, min_width=6, justify="right")
    table.add_column("promise", no_wrap=True, min_width=7, justify="right")
    table.add_column("dataset", no_wrap=True, min_width=8)
    for line in sorted(lines, key=lambda line: line.moved_at, reverse=True)[:height]:
        symbol, style = STYLES[line.state]
        table.add_row(
            line.company_name,
            line.data_type,
            *([line.why] if width >= _WIDE else []),
            Text(f"{symbol} {state_of(line, dry_run)}", style=style),
            duration(line.age),
            duration(line.promise),
            line.dataset_id[:8],
        )
    return table
