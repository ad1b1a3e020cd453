"""`freshness status`: whether the promises are kept."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from cli.arguments import Json, argument, print_difference, selected_stack
from cli.output import link_text, new_table, print_json, print_table, print_text, state_text
from freshness.app.page.read import first_companies, summary_of_large
from freshness.app.reading.diagnosis import RESUME
from freshness.app.reading.text import codat_words, duration, moment
from freshness.app.reading.views import ConsentView, FeedView, FleetView, LinkView, MissView, Summary
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import in_force
from freshness.domain.feeds.feed_values import State
from stack_access.stack import clock
from stack_access.text import STYLES

Shown = TypeVar("Shown")
WORST = 10
"""The most feeds older than promised that the summary lists."""


def status(
    context: typer.Context,
    company: Annotated[
        str | None, argument("[COMPANY]", "A company's id or name; all companies if none is named.")
    ] = None,
    *,
    companies: Annotated[bool, typer.Option("--companies", help="List every company with its id.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Count every data type, which takes minutes for a hundred thousand companies.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how fresh all companies are, or each data type of one company."""
    now, stack = clock(), selected_stack(context)
    queries = stack.queries
    if company:
        found = queries.find_company(company)
        feeds = queries.company(found, now)
        links = stack.links(found, feeds)
        if as_json:
            print_json({"company": found, "feeds": feeds, "links": links})
        else:
            _print_company(found, feeds, links)
            print_difference(stack)
        return
    fleet: FleetView | None = None
    if not (companies or everything) and (first := first_companies(queries)).is_large:
        summary = summary_of_large(queries, now, first)
    else:
        fleet = queries.fleet(now)
        if companies:
            _print_companies(fleet, as_json)
            return
        summary = queries.summary(fleet, now)
    if as_json:
        print_json(summary)
    else:
        _print(summary, fleet)
        print_difference(stack)


def _print(summary: Summary, fleet: FleetView | None) -> None:
    """Print a fleet in numbers. If it was read whole, print it by state and data type too."""
    if summary.pause:
        print_text(f"Everything is {summary.pause}. {RESUME}", "yellow")
    if fleet:
        print_text(f"{summary.companies} companies, {len(fleet.feeds)} data types: {summary.how_kept}")
        counts = (Text(f"{symbol} {name} {summary.states[name]}", style) for name, (symbol, style) in STYLES.items())
        print_text(Text("  ").join(counts))
        print_table(_by_data_type(fleet))
    else:
        print_text(f"About {summary.companies} companies: {summary.how_kept}")
        print_text("Whom they wait for is of the worst that were read; --all reads every data type.", "dim")
    limits = summary.limits
    if limits.remaining is not None:
        reported_at = moment(limits.reported_at)
        print_text(f"Calls to Codat left: {limits.remaining} of {limits.daily_quota} a day, as of {reported_at} UTC.")
    for each in summary.spending:
        print_text(f"Spent on {each.platform} this month: {each.spent:,.2f} of {each.cap:,.2f} {each.currency}.")
    _print_worst("Deadlines that will be missed", summary.misses_ahead, _misses_table)
    _print_worst("Consent that ends soon", summary.ending_consents, _consents_table)
    _print_worst("Older than promised", summary.not_fresh, partial(_feeds_table, with_company=True))
    if summary.states[State.BLOCKED] or summary.ending_consents:
        print_text('The link with which a customer relinks, read from Codat: "./freshness status COMPANY".')


def _print_worst(title: str, found: Sequence[Shown], table_of: Callable[[Iterable[Shown]], Table]) -> None:
    if found:
        print_text(f"\n{title}:", "bold")
        print_table(table_of(found[:WORST]))
    if len(found) > WORST:
        print_text(f"and {len(found) - WORST} more, which --json lists.")


def _misses_table(misses: Iterable[MissView]) -> Table:
    table = new_table("company", "data type", "deadline", "at (UTC)", "expected (UTC)")
    for miss in misses:
        table.add_row(
            miss.company_name, miss.data_type, miss.deadline, moment(miss.deadline_at), moment(miss.expected_at)
        )
    return table


def _consents_table(consents: Iterable[ConsentView]) -> Table:
    table = new_table("company", "platform", "ends (UTC)", "what to do")
    for each in consents:
        table.add_row(each.company_name, each.platform, moment(each.ends_at), each.diagnosis.next_action)
    return table


def _by_data_type(fleet: FleetView) -> Table:
    table = new_table("data type", *(symbol for symbol, _ in STYLES.values()), "oldest", "promise")
    for data_type in sorted({feed.data_type for feed in fleet.feeds}):
        feeds = [feed for feed in fleet.feeds if feed.data_type == data_type]
        counts = Counter(feed.state for feed in feeds)
        oldest = max((feed.age for feed in feeds if feed.age), default=None)
        promises = {feed.promise for feed in feeds}
        promise = duration(min(promises)) + (f" to {duration(max(promises))}" if len(promises) > 1 else "")
        numbers = (Text(str(counts[state] or ""), style=style) for state, (_, style) in STYLES.items())
        table.add_row(data_type, *numbers, duration(oldest), promise)
    return table


def _print_company(company: Company, feeds: Iterable[FeedView], links: Iterable[LinkView]) -> None:
    print_text(f"{company.name} ({company.company_id})", "bold")
    if pause := in_force(company.pause, clock()):
        print_text(f'It is {pause}. Resume with "./freshness resume {company.company_id}".', "yellow")
    if company.deleted_at:
        print_text(f"It was deleted at Codat, as found at {moment(company.deleted_at)} UTC.", "yellow")
    for connection in company.connections.values():
        ends_at = connection.consent_ends_at
        ending = f", and consent ends {moment(ends_at)} UTC" if ends_at else ""
        print_text(f"{connection.platform}: {connection.status}{ending}")
    for link in links:
        print_text(link_text(link), "yellow")
    print_table(_feeds_table(feeds, with_company=False))


def _feeds_table(feeds: Iterable[FeedView], *, with_company: bool) -> Table:
    """Return a table of feeds. Its first column is the company, or the platform if all feeds are of one company."""
    columns = "data type", "state", "age", "promise", "current", "due (UTC)", "whose turn", "why"
    table = new_table("company" if with_company else "platform", *columns)
    for feed in feeds:
        cells = (
            feed.data_type,
            state_text(feed.state),
            duration(feed.age),
            duration(feed.promise),
            "-" if feed.probability_up_to_date is None else f"{feed.probability_up_to_date:.0%}",
            _due(feed),
            feed.diagnosis.waited_for if feed.diagnosis else "",
            _why(feed),
        )
        table.add_row(feed.company_name if with_company else feed.platform, *cells)
    return table


def _why(feed: FeedView) -> str:
    """Return why a feed is not fresh, with Codat's words about it."""
    return ". ".join(filter(None, (feed.diagnosis.why if feed.diagnosis else "", codat_words(feed.codat_says))))


def _due(feed: FeedView) -> str:
    """Return when a refresh is due. For a feed in flight or blocked, `due_at` only says when a tick must read it."""
    if feed.state in (State.REFRESHING, State.BLOCKED):
        return "-"
    return "now" if feed.is_due else moment(feed.due_at)


def _print_companies(fleet: FleetView, as_json: bool) -> None:
    names = {feed.company_id: feed.company_name for feed in fleet.feeds}
    if as_json:
        print_json([{"companyId": company_id, "companyName": name} for company_id, name in names.items()])
        return
    for company_id, name in names.items():
        print_text(f"{company_id}  {name}")
