"""Reading what the page shows: the worst feeds by name, and counts of the others, never everything.

It reads the first part of three indexes (companies that need a relink, feeds whose promise is broken, all companies),
and all feeds of at most `COMPANIES` companies. So a page of 100,000 feeds costs about as much as one of 1,000. So
does the summary of a large fleet.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import NamedTuple

from freshness.app.forecast import misses_ahead
from freshness.app.page.attained import read_attainment
from freshness.app.page.timeline import breaches_of, longest, within
from freshness.app.page.verdict import in_words
from freshness.app.page.view import (
    Cell,
    FeedBreaches,
    NeedsPerson,
    PageView,
    Row,
    Selection,
    TurnView,
)
from freshness.app.reading.diagnosis import Diagnosis, Turn, of_everything, parties
from freshness.app.reading.queries import READERS, Queries
from freshness.app.reading.views import ConsentView, FeedView, MissView, Summary
from freshness.app.webhook_heartbeat import SILENT_AFTER, WEBHOOK_RECEIVED
from freshness.aws.dynamodb.companies import DUE_FOR_CHECK
from freshness.aws.dynamodb.feeds import Broken
from freshness.domain.clean_text import shown
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import in_force
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import State
from freshness.domain.slo.attainment import DAY, hour_of

COMPANIES = 200
"""The most companies whose feeds are read."""
WORST = 200
"""The most broken promises that are named."""
ROWS = 30
"""The most companies that have a row."""
PEOPLE = 30
"""The most entries in the list of connections that need a person."""
MISSES = 20
"""The most entries in the list of deadlines that will be missed."""
LOOKS_AHEAD_FOR = timedelta(seconds=1)
"""How long a summary may take to look for deadlines that will be missed. It reads all feeds that are due by then."""
LONGEST_NAME = 60
"""The most characters of a name."""
EVERYTHING = Selection()


class FirstCompanies(NamedTuple):
    """The ids of the first companies in the index, and whether there are no more."""

    ids: list[str]
    are_all: bool

    @property
    def is_large(self) -> bool:
        """Return whether the fleet has more companies than are read."""
        return not self.are_all or len(self.ids) > COMPANIES


@dataclass(frozen=True, slots=True)
class _Index:
    """What was read from the indexes."""

    broken: list[Broken]
    broken_is_whole: bool
    relinks: list[str]
    relinks_soon: list[str]
    first: FirstCompanies

    def chosen(self) -> list[str]:
        """Return the ids of the companies to read: those with broken promises, those that need a relink, then others.

        Both ends of a long list count: what has been broken for months must not hide what broke just now. If the fleet
        is too large to be read whole, others only fill the rows.
        """
        worst = ends([each.key[0] for each in self.broken], WORST)
        relinks = ends(self.relinks, COMPANIES // 2)
        soon = ends(self.relinks_soon, COMPANIES // 4)
        named = list(dict.fromkeys(chain(worst[: COMPANIES // 2], relinks, soon, worst)))
        most = max(ROWS, len(named)) if self.first.is_large else COMPANIES
        return list(dict.fromkeys(chain(named, self.first.ids)))[: min(most, COMPANIES)]

    def is_whole(self, company_ids: Sized) -> bool:
        """Return whether these are all companies."""
        return self.first.are_all and len(self.first.ids) <= len(company_ids)


def first_companies(queries: Queries) -> FirstCompanies:
    """Read the first part of the index of all companies."""
    return FirstCompanies(*queries.services.tables.companies.first_ids(DUE_FOR_CHECK, COMPANIES))


def page_view(
    queries: Queries, now: datetime, selection: Selection = EVERYTHING, first: FirstCompanies | None = None
) -> PageView:
    """Return what the page shows now. A search in a fleet that is too large to be read whole reads all companies.

    `first` is read if it is not given.
    """
    with ThreadPoolExecutor(READERS) as readers:
        broken, broken_is_whole = queries.services.tables.feeds.broken()
        relinks, relinks_soon = queries.services.tables.companies.relinks(COMPANIES, now)
        index = _Index(broken, broken_is_whole, relinks, relinks_soon, first or first_companies(queries))
        chosen = index.chosen()
        if selection.search and not index.is_whole(chosen):
            chosen = list(dict.fromkeys(chain(_found(queries, selection), chosen)))
        companies = queries.services.tables.companies.get_many(chosen)
        of_companies = readers.map(queries.services.tables.feeds.of_company, chosen)
        feeds = list(chain.from_iterable(of_companies))
    named = [companies[each] for each in chosen if each in companies and not companies[each].deleted_at]
    judged = [(_shortened(view), decision.feed) for view, decision in queries.judged(named, feeds, now)]
    return _view(queries, index, named, judged, selection, now)


def summary_of(queries: Queries, now: datetime) -> Summary:
    """Return a fleet in numbers: exact for a small fleet, from indexes and the worst companies for a large one."""
    first = first_companies(queries)
    return summary_of_large(queries, now, first) if first.is_large else queries.summary(queries.fleet(now), now)


def summary_of_large(queries: Queries, now: datetime, first: FirstCompanies) -> Summary:
    """Return a fleet in numbers, from indexes and the worst companies alone."""
    view = page_view(queries, now, first=first)
    waiting = parties((each.diagnosis, each.broken) for each in view.turns)
    ages = [cell.feed.age / cell.feed.promise for cell in view.worst if cell.feed.age]
    return Summary(
        at=now,
        companies=view.companies,
        pause=view.conditions.pause,
        states=Counter(),
        promises=view.feeds,
        promises_broken=view.broken,
        broken_by_turn={party.turn: party.feeds for party in waiting},
        waits_for=waiting,
        oldest_age_against_promise=max(ages, default=None),
        limits=view.conditions.limits,
        not_fresh=tuple(cell.feed for cell in view.worst),
        misses_ahead=tuple(map(MissView.of, misses_ahead(queries.services, now, now + LOOKS_AHEAD_FOR))),
        spending=view.spending,
        is_whole=False,
    )


def _found(queries: Queries, selection: Selection) -> list[str]:
    """Return the ids of the first companies that match the search."""
    found = (each for each in queries.services.tables.companies.scan() if selection.has_company(each))
    return [each.company_id for each in islice(found, ROWS)]


def _view(
    queries: Queries,
    index: _Index,
    companies: Sequence[Company],
    judged: Sequence[tuple[FeedView, Feed]],
    selection: Selection,
    now: datetime,
) -> PageView:
    tables, policy, conditions = queries.services.tables, queries.services.policy, queries.conditions(now)
    by_id = {company.company_id: company for company in companies}
    is_whole = index.is_whole(companies)
    elsewhere = [each.key for each in index.broken if each.key[0] not in by_id]
    cells = [Cell(view, now) for view, _ in judged]
    promised = [cell for cell in cells if cell.feed.is_promised and cell.feed.state is not State.UNSUPPORTED]
    worst = sorted((cell for cell in promised if cell.is_broken), key=lambda cell: (-cell.badness, cell.feed.key))
    selected = _rows(companies, cells, selection, now)
    rows = tuple(sorted(selected[:ROWS], key=_trouble_first))
    listed = {row.company_id for row in selected}
    people = _needs_person(by_id, promised)
    received_at = tables.control.last_done(WEBHOOK_RECEIVED)
    silent_since = _silent_since(received_at, [feed for _, feed in judged])
    expected = (view for view, _ in judged if view.misses_at)
    open_breaches = [each.breach.until(now) for each in index.broken if each.breach]
    rules, hours = read_attainment(tables.attainment, policy, open_breaches, now)
    return PageView(
        at=now,
        companies=len(index.first.ids) if is_whole else max(tables.companies.count(), len(index.first.ids)),
        feeds=len(promised) if is_whole else max(tables.feeds.count(), len(promised)),
        is_whole=is_whole,
        broken=len(worst) + len(elsewhere),
        broken_is_minimum=not index.broken_is_whole,
        broken_in_words=tuple(in_words([cell.feed for cell in worst], elsewhere)),
        needs_person=people[:PEOPLE],
        relinks_elsewhere=max(0, len(people) - PEOPLE) + len(set(index.relinks) - by_id.keys()),
        ending_consents=tuple(_shortened_consent(each) for each in ConsentView.all_of(companies)[:PEOPLE]),
        turns=_turns(cells, of_everything(conditions, silent_since)),
        selection=selection,
        selected=len(selected),
        data_types=_data_types(rows),
        rows=rows,
        broken_elsewhere=_without_row(worst, rows) + Counter(data_type for _, data_type, _ in elsewhere),
        worst=tuple(cell for cell in worst if cell.feed.company_id in listed and selection.has_cell(cell))[:WORST],
        details=tuple({cell.feed.key: cell for cell in [*worst, *_of_rows(rows)][:WORST]}.values()),
        misses=tuple(sorted(expected, key=lambda view: view.misses_at or now)[:MISSES]),
        attainment=rules,
        hours=hours,
        breaches=_breaches(queries, by_id, judged, now),
        conditions=conditions,
        webhook_received_at=received_at,
        webhooks_silent_since=silent_since,
        spending=tuple(queries.spending(now)),
    )


def _breaches(
    queries: Queries, companies: Mapping[str, Company], judged: Iterable[tuple[FeedView, Feed]], now: datetime
) -> tuple[FeedBreaches, ...]:
    """Return the feeds that were older than promised for longest in the last day."""
    since = hour_of(now - DAY).start
    found = []
    for view, feed in judged:
        if view.is_promised and view.state is not State.UNSUPPORTED:
            company = companies[view.company_id]
            connection = company.connections[view.connection_id]
            promise = queries.services.policy.promise(feed.data_type, company, connection)
            found.append(FeedBreaches(view, within(breaches_of(feed, view, promise, connection, now), since)))
    return longest(each for each in found if each.spans)


def ends(ids: Sequence[str], most: int) -> list[str]:
    """Return up to `most` entries, alternately from the start and the end of a sequence."""
    from_both = chain.from_iterable(zip(ids, reversed(ids), strict=True))
    return list(dict.fromkeys(from_both))[:most]


def _shortened(view: FeedView) -> FeedView:
    """Shorten the names in a feed: Codat limits neither a company's name nor a platform's."""
    platform = shown(view.platform, LONGEST_NAME)
    diagnosis = view.diagnosis
    if diagnosis and view.platform:
        why = diagnosis.why.replace(view.platform, platform)
        diagnosis = replace(diagnosis, why=why, platform=platform if diagnosis.platform else "")
    return replace(view, company_name=shown(view.company_name, LONGEST_NAME), platform=platform, diagnosis=diagnosis)


def _shortened_consent(view: ConsentView) -> ConsentView:
    why = view.diagnosis.why.replace(view.platform, shown(view.platform, LONGEST_NAME))
    name = shown(view.company_name, LONGEST_NAME)
    return replace(view, company_name=name, diagnosis=replace(view.diagnosis, why=why))


def _rows(companies: Iterable[Company], cells: Iterable[Cell], selection: Selection, now: datetime) -> list[Row]:
    """Return the rows of the selected companies that have feeds, in the order of `companies`."""
    by_company: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        by_company[cell.feed.company_id][cell.feed.data_type].append(cell)
    return [
        Row(
            each.company_id,
            shown(each.name, LONGEST_NAME),
            in_force(each.pause, now),
            {name: tuple(of) for name, of in types.items()},
        )
        for each in companies
        if selection.has_company(each)
        and (types := by_company.get(each.company_id))
        and any(selection.has_cell(cell) for cell in chain.from_iterable(types.values()))
    ]


def _of_rows(rows: Iterable[Row]) -> Iterator[Cell]:
    return chain.from_iterable(row.all_cells for row in rows)


def _data_types(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the promised data types of the rows: most broken feeds first, then most that wait for someone."""
    broken = Counter(cell.feed.data_type for cell in _of_rows(rows) if cell.is_broken)
    waiting = Counter(cell.feed.data_type for cell in _of_rows(rows) if cell.diagnosis)
    names = {cell.feed.data_type for cell in _of_rows(rows) if cell.feed.is_promised}
    return tuple(sorted(names, key=lambda name: (-broken[name], -waiting[name], name)))


def _trouble_first(row: Row) -> tuple[int, str, str]:
    return -sum(cell.diagnosis is not None for cell in row.all_cells), row.company_name, row.company_id


def _without_row(cells: Iterable[Cell], rows: Iterable[Row]) -> Counter[str]:
    """Return how many of the cells have no row, by data type."""
    with_row = {row.company_id for row in rows}
    return Counter(cell.feed.data_type for cell in cells if cell.feed.company_id not in with_row)


def _needs_person(companies: Mapping[str, Company], cells: Iterable[Cell]) -> tuple[NeedsPerson, ...]:
    """Return the connections that wait for a customer, the one with most broken promises first."""
    of_connection: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.diagnosis and cell.diagnosis.turn is Turn.CUSTOMER:
            of_connection[cell.feed.company_id, cell.feed.connection_id].append(cell)
    people = [
        NeedsPerson(
            diagnosis=waiting[0].feed.turn,
            since=companies[company_id].connections[connection_id].lapsed_at,
            feeds=tuple(cell.feed for cell in waiting),
            broken=sum(cell.is_broken for cell in waiting),
        )
        for (company_id, connection_id), waiting in of_connection.items()
    ]
    return tuple(sorted(people, key=lambda each: (-each.broken, each.feed.company_name, each.feed.connection_id)))


def _turns(cells: Iterable[Cell], also: Iterable[Diagnosis]) -> tuple[TurnView, ...]:
    """Return the steps that feeds wait for, most feeds first, and then the steps in `also`."""
    cells = [cell for cell in cells if cell.diagnosis]
    counts = Counter(cell.diagnosis for cell in cells if cell.diagnosis)
    counts.update(dict.fromkeys(also, 0))
    broken = Counter(cell.diagnosis for cell in cells if cell.is_broken)
    return tuple(TurnView(each, feeds, broken[each]) for each, feeds in counts.most_common())


def _silent_since(received_at: datetime | None, feeds: Iterable[Feed]) -> datetime | None:
    """Return when a webhook last arrived, or was due, if a dataset ended `SILENT_AFTER` later or more."""
    ended = [
        (feed.last_dataset.at, feed.end.at) for feed in feeds if feed.last_dataset and feed.end and not feed.in_flight
    ]
    since = received_at or min((requested_at for requested_at, _ in ended), default=None)
    is_silent = since and any(at >= since + SILENT_AFTER for _, at in ended)
    return since if is_silent else None
