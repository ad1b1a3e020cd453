"""`make simulate`: simulate the policy with a fleet over several days, and show the results."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from estimate.bill import DAYS_A_MONTH
from estimate.days import Report, run
from estimate.world import RuleReport, SimulatedFeed
from freshness.policy.errors import PolicyError
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from simulate.coming import not_simulated
from simulate.fleet import FleetError, generate_fleet, load_fleet
from simulate.tighter import TighterError, tighten

START = datetime(2026, 11, 23, tzinfo=UTC)
"""When the simulation of a generated fleet begins: a Monday."""

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@application.command()
def simulate(
    policy: Annotated[Path, typer.Option(help="The policy file.")] = Path("freshness.toml"),
    fleet: Annotated[
        Path | None, typer.Option(help="A fleet written by `freshness export`. Default: a generated fleet.")
    ] = None,
    companies: Annotated[int, typer.Option(min=1, help="The number of companies to generate.")] = 100,
    changes_per_day: Annotated[
        float,
        typer.Option(min=0.001, max=10_000, help="The median change rate of the data types in a generated fleet."),
    ] = 4.0,
    days: Annotated[int, typer.Option(min=1, help="The number of days to measure, after one day of warm-up.")] = 3,
    seed: Annotated[int, typer.Option(help="The seed of the generated fleet.")] = 1,
    tighter: Annotated[
        list[str] | None,
        typer.Option(help='Also show the cost of a tighter promise: "invoices=1 hour". May be repeated.'),
    ] = None,
    chart: Annotated[Path, typer.Option(dir_okay=False, help="The PNG file to write the chart to.")] = Path(
        "simulation.png"
    ),
) -> None:
    """Simulate the policy, and show the calls compared with the quota, the promises kept, and the cost."""
    console = Console()
    try:
        loaded = load(policy)
        alternatives = {change: tighten(loaded, change) for change in tighter or ()}
        report, *others = (
            _run(console, title, each, fleet, companies, changes_per_day, days, seed)
            for title, each in {"the policy": loaded, **alternatives}.items()
        )
    except (PolicyError, FleetError, TighterError) as error:
        _fail(console, str(error))
    console.print(_rules_table(report))
    if report.deadlines_met or report.deadlines_missed:
        console.print(_deadlines_table(report))
    if loaded.prices:
        console.print(_spending_table(report, loaded))
    for hint in not_simulated(loaded, report.start.date(), days, report.sources):
        console.print(hint, style="yellow", highlight=False, markup=False, soft_wrap=True)
    console.print(_totals_table({"the policy": report, **dict(zip(alternatives, others, strict=True))}))
    from simulate.chart import draw  # matplotlib takes a second to import

    try:
        draw(report, chart)
    except OSError as error:
        _fail(console, f"{chart}: cannot write the chart: {error.strerror}")
    console.print(f"The chart was written to {chart}", highlight=False)


def _fail(console: Console, message: str) -> NoReturn:
    console.print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(1)


def _run(
    console: Console,
    title: str,
    policy: Policy,
    fleet: Path | None,
    companies: int,
    changes_per_day: float,
    days: int,
    seed: int,
) -> Report:
    simulated_feeds: list[SimulatedFeed]
    if fleet:
        simulated_feeds, now, learned = load_fleet(fleet, policy, seed)
        policy = policy.with_learned(learned)
        start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    else:
        simulated_feeds, start = generate_fleet(companies, changes_per_day, seed, START), START
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"Simulating {days} days of {title}", total=days + 1)
        return run(simulated_feeds, policy, start, days, on_day=lambda: progress.advance(task))


def _table(title: str) -> Table:
    """Return an empty table whose style fits into 80 columns."""
    return Table(title=title, box=None, padding=(0, 2, 0, 0), pad_edge=False, title_justify="left")


def _rules_table(report: Report) -> Table:
    table = _table(f"{report.companies} companies, {report.feeds} feeds, {report.days} days")
    table.add_column("policy table", overflow="fold", min_width=32)
    for name in ("feeds", "promises\nkept", "up to\ndate", "refreshes\na day", "found\nnothing"):
        table.add_column(name, justify="right")
    for place, rule in sorted(report.rules.items(), key=lambda each: -each[1].feeds):
        table.add_row(
            escape(place),
            str(rule.feeds),
            _attained(rule),
            _share(rule.current_days, rule.days),
            f"{rule.refreshes / report.days:,.0f}",
            f"{rule.found_nothing / rule.refreshes:.0%}" if rule.refreshes else "",
        )
    return table


def _deadlines_table(report: Report) -> Table:
    """Return a table of deadlines met and missed. A missed one cannot be met with this budget and these windows."""
    table = _table("Deadlines of feeds")
    table.add_column("deadline", overflow="fold", min_width=32)
    for name in ("in all", "missed", "met"):
        table.add_column(name, justify="right")
    for place in sorted(report.deadlines_met | report.deadlines_missed):
        met, missed = report.deadlines_met[place], report.deadlines_missed[place]
        style = "red" if missed else ""
        table.add_row(escape(place), f"{met + missed:,}", f"{missed:,}", f"{met / (met + missed):.1%}", style=style)
    return table


def _spending_table(report: Report, policy: Policy) -> Table:
    """Return a table of what the platforms charge for each rule in a month of days like those measured."""
    currency = next(price.currency for price in policy.prices.values())
    table = _table("Charges of the platforms")
    table.caption = "of those with a price"
    table.add_column("policy table", overflow="fold", min_width=32)
    for name in (f"{currency}\na month", "for refreshes that\nfound nothing"):
        table.add_column(name, justify="right")
    for place, rule in sorted({**report.rules, "in all": report.total}.items(), key=lambda each: each[1].cost):
        costs = (cost * DAYS_A_MONTH / report.days for cost in (rule.cost, rule.cost_of_nothing))
        table.add_row(escape(place), *(f"{cost:,.2f}" for cost in costs))
    return table


def _totals_table(reports: dict[str, Report]) -> Table:
    table = _table("Calls and cost")
    table.caption = "AWS at list prices, without the dashboard"
    table.add_column("", overflow="fold", min_width=16)
    for name in (
        "calls\na day",
        "of the\nquota",
        "busiest\nday",
        "promises\nkept",
        "up to\ndate",
        "AWS, USD\na month",
    ):
        table.add_column(name, justify="right")
    for title, report in reports.items():
        calls, total = sum(report.calls.values()) / report.days, report.total
        table.add_row(
            title,
            f"{calls:,.0f}",
            f"{calls / report.quota:.1%}",
            f"{max(report.calls.values()):,}",
            _attained(total),
            _share(total.current_days, total.days),
            f"{report.usd_a_month:.2f}",
        )
    return table


def _attained(rule: RuleReport) -> str:
    return "" if rule.attained.share is None else f"{rule.attained.share:.1%}"


def _share(part: float, whole: float) -> str:
    """Return a share in percent; empty if the whole is 0, as when a policy refreshes no feed."""
    return f"{part / whole:.1%}" if whole else ""


if __name__ == "__main__":
    application()
