"""What the page shows: plain values, computed once, which `freshness.app.page.render` turns into HTML."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from freshness.app.reading.diagnosis import Conditions, Diagnosis, Turn
from freshness.app.reading.views import ConsentView, FeedView, SpendingView
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause
from freshness.domain.feeds.feed import FeedKey
from freshness.domain.feeds.feed_values import State
from freshness.domain.slo.attainment import Attained


class Tone(StrEnum):
    """How good or bad a verdict is."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence about everything. If anything is wrong: whose turn it is, and what to do next."""

    tone: Tone
    text: str
    turn: str = ""
    next_actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A feed on the page at a time. Its `diagnosis` is `None` if nobody has to do anything now."""

    feed: FeedView
    at: datetime

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Return why the feed is not fresh; `None` if nobody has to do anything about it now."""
        found = self.feed.diagnosis
        if found is None or found.turn is Turn.NOBODY:
            return None
        is_pressing = self.feed.state is State.BLOCKED or self.feed.is_broken or self.feed.misses_at
        return found if is_pressing else None

    @property
    def is_broken(self) -> bool:
        """Return whether the promise is broken."""
        return self.feed.is_broken

    @property
    def ratio(self) -> float | None:
        """Return the age as a multiple of the promise; `None` where nothing is promised."""
        if self.feed.breaks_at is None:
            return None
        return 1 + (self.at - self.feed.breaks_at) / self.feed.promise

    @property
    def badness(self) -> float:
        """Return a number to sort cells by: the greatest is the worst."""
        return self.ratio or 0.0

    @property
    def level(self) -> str:
        """Return the name of the cell's colour, by its age relative to its promise."""
        if self.ratio is None or (self.feed.age is None and not self.is_broken):
            return "none"
        limits = (("new", 0.5), ("kept", 1.0), ("broken", 2.0))
        return next((level for level, limit in limits if self.ratio <= limit), "lost")


@dataclass(frozen=True, slots=True)
class Row:
    """A company with its feeds by data type. A data type has a feed for each connection, usually one."""

    company_id: str
    company_name: str
    pause: Pause | None
    cells: Mapping[str, tuple[Cell, ...]]

    @property
    def all_cells(self) -> Iterator[Cell]:
        """Return the cells of all its feeds."""
        return chain.from_iterable(self.cells.values())

    def worst(self, data_type: str) -> Cell | None:
        """Return a data type's worst feed.

        A broken promise is worst, then a feed that waits for somebody. Among equals it is the oldest against its
        promise.
        """
        cells = self.cells.get(data_type, ())
        return max(cells, key=lambda cell: (cell.is_broken, cell.diagnosis is not None, cell.badness), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which companies and feeds the page lists: all of them, unless a reader searches or filters."""

    search: str = ""
    """A company's id, or a part of its name."""
    turn: Turn | None = None
    """The party that the listed feeds wait for; `None` for any."""

    @property
    def is_everything(self) -> bool:
        """Return whether nothing is left out."""
        return not self.search and self.turn is None

    def has_company(self, company: Company) -> bool:
        """Return whether a company matches the search."""
        return self.search == company.company_id or self.search.casefold() in company.name.casefold()

    def has_cell(self, cell: Cell) -> bool:
        """Return whether a cell fits the reader's filter: any, or only feeds that wait for one party."""
        return self.turn is None or (cell.diagnosis is not None and cell.diagnosis.turn is self.turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsPerson:
    """A connection that the customer must act on, with the feeds that wait for it."""

    diagnosis: Diagnosis
    since: datetime | None
    feeds: tuple[FeedView, ...]
    broken: int
    """How many of the feeds are older than promised."""

    @property
    def feed(self) -> FeedView:
        """Return the first of the feeds, which names the company and the connection."""
        return self.feeds[0]


@dataclass(frozen=True, slots=True)
class TurnView:
    """How many feeds wait for the same step, and how many of them are older than promised."""

    diagnosis: Diagnosis
    feeds: int
    broken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """The attainment of a policy's rule, in the last day and the last month. An empty `rule` is the whole fleet."""

    rule: str
    day: Attained
    month: Attained
    objective: float | None

    @property
    def budget_left(self) -> float | None:
        """Return the part of the month's error budget that is left; `None` if the rule has no objective."""
        return None if self.objective is None else self.month.budget_left(self.objective)


@dataclass(frozen=True, slots=True, kw_only=True)
class HourView:
    """How many promises were broken in an hour, on average: late, or waiting for a customer."""

    start: datetime
    late: float
    waiting: float


class Span(NamedTuple):
    """A time in which a feed was older than promised. It may have waited for the customer, and may still go on."""

    start: datetime
    end: datetime
    waiting: bool = False
    is_open: bool = False

    @property
    def length(self) -> timedelta:
        """Return how long the span lasted."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class FeedBreaches:
    """The times of the last day in which a feed was older than promised, the earliest first."""

    feed: FeedView
    spans: tuple[Span, ...]

    @property
    def length(self) -> timedelta:
        """Return how long all breaches lasted together."""
        return sum((span.length for span in self.spans), timedelta(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """Everything that the page shows."""

    at: datetime
    companies: int
    feeds: int
    is_whole: bool
    """Whether every company was read. If not, `companies` and `feeds` are about right, and only the worst have rows."""
    broken: int
    """Feeds that are older than promised."""
    broken_is_minimum: bool
    """Whether there are more broken promises than could be counted."""
    broken_in_words: tuple[str, ...]
    """Which these are, by name if they are few."""
    needs_person: tuple[NeedsPerson, ...]
    relinks_elsewhere: int
    """Further companies with a connection that needs a relink."""
    ending_consents: tuple[ConsentView, ...]
    """The connections to which consent ends soon, of the companies that were read."""
    turns: tuple[TurnView, ...]
    selection: Selection
    """Which companies have rows, and which feeds are in `worst`."""
    selected: int
    """How many of the companies that were read are selected."""
    data_types: tuple[str, ...]
    rows: tuple[Row, ...]
    broken_elsewhere: Mapping[str, int]
    """How many promises are broken by data type, among companies without a row."""
    worst: tuple[Cell, ...]
    """The feeds that are older than promised, the worst first."""
    details: tuple[Cell, ...]
    """The feeds whose details are in the page itself: the worst, then others that have a cell."""
    misses: tuple[FeedView, ...]
    """The feeds that will miss a deadline, the next one first, of the companies that were read."""
    attainment: tuple[RuleView, ...]
    """Of the whole fleet, then of each rule. It is an upper bound if `broken_is_minimum`."""
    hours: tuple[HourView, ...]
    """The hours of the last day, the earliest first."""
    breaches: tuple[FeedBreaches, ...]
    """The feeds that were older than promised for longest in `hours`, of the companies that were read."""
    conditions: Conditions
    webhook_received_at: datetime | None
    webhooks_silent_since: datetime | None
    """Since when no webhook has arrived, although refreshes end."""
    spending: tuple[SpendingView, ...]
    """What was spent this month at each platform that has a cap."""

    def with_most(self, most: int) -> "PageView":
        """Return the page with its long lists cut to `most` entries."""
        rows, others = self.rows[:most], self.rows[most:]
        broken = Counter(cell.feed.data_type for row in others for cell in row.all_cells if cell.is_broken)
        return replace(
            self,
            is_whole=self.is_whole and not others,
            needs_person=self.needs_person[:most],
            relinks_elsewhere=self.relinks_elsewhere + len(self.needs_person[most:]),
            ending_consents=self.ending_consents[:most],
            rows=rows,
            broken_elsewhere=broken + Counter(self.broken_elsewhere),
            worst=self.worst[:most],
            details=self.details[:most],
            misses=self.misses[:most],
            breaches=self.breaches[:most],
            spending=self.spending[:most],
        )

    @property
    def numbers(self) -> dict[FeedKey, int]:
        """Return the position of each feed in `details`."""
        return {cell.feed.key: number for number, cell in enumerate(self.details)}

    @property
    def cells_without_details(self) -> int:
        """Return how many feeds have a cell, and are not in `details`."""
        cells = {cell.feed.key for row in self.rows for cell in row.all_cells}
        return len(cells - self.numbers.keys())
