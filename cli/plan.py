"""`freshness plan`: what a policy would do to the fleet, and what that costs. It changes nothing."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from cli.arguments import Json, selected_stack
from cli.errors import CommandError
from cli.output import print_json, print_text
from estimate.memory_dynamodb import tables_in_memory
from estimate.plan import Effect, Fleet, Plan, effect
from estimate.plan import plan as planned
from freshness.app.checking.check_freshness import check_freshness
from freshness.app.services import Services
from freshness.app.tick import Run
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.aws.metrics import Metric
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from stack_access.stack import DeployedStack, clock

LONGEST = timedelta(hours=2)
"""How long it may take to list and check the companies, if no tick has checked any yet."""
LISTED = 10


def plan(
    context: typer.Context,
    *,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Plan with this policy file, and not with the policy in force.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what would be queued now, and what a day and a month cost. Nothing is queued or written.

    If no company was checked yet, the data status is read from Codat, with about one call for each company.
    """
    stack = selected_stack(context)
    draft = policy or _given_before(context)
    used = load(draft).with_learned(stack.tables.learned.fleet()) if draft else stack.policy
    with _progress() as progress:
        fleet = fleet_of(stack, used, progress)
        task = progress.add_task("Simulating two days", total=2)
        result = planned(fleet, used, on_day=lambda: progress.advance(task))
    if as_json:
        print_json(result)
        return
    if draft:
        print_text(f'With {draft}, which "./freshness policy push {draft}" would put in force:')
    elif difference := stack.policies.difference():
        print_text(f'{difference} "./freshness plan --policy {stack.policy_file.name}" plans with it.', "yellow")
    _print(result)
    if pause := stack.pause(clock()):
        print_text(f'Everything is {pause}. Start with "./freshness resume".', "yellow")


def _given_before(context: typer.Context) -> Path | None:
    """Return the policy file of the option before the command, `None` if that was not given."""
    source = context.parent and context.parent.get_parameter_source("policy")
    return selected_stack(context).policy_file if source and source.name == "COMMANDLINE" else None


def print_effect(stack: DeployedStack, before: Policy, after: Policy) -> None:
    """Print what a new policy changes about the fleet's promises, its calls and its cost."""
    fleet = _of_tables(stack.tables)
    if not fleet.feeds:
        print_text("No company was checked yet, so that the effect is unknown.")
        return
    with _progress() as progress:
        task = progress.add_task("Simulating two days of both", total=4)
        learned = stack.tables.learned.fleet()
        policies = (each.with_learned(learned) for each in (before, after))
        old, new = (planned(fleet, each, on_day=lambda: progress.advance(task)) for each in policies)
    _print_promises(effect(fleet, before, after))
    _print_compared("Calls a day", old.calls_a_day, new.calls_a_day, f" of {new.quota:,}")
    _print_compared("AWS, USD a month", old.aws_usd_a_month, new.aws_usd_a_month, digits=2)
    if currency := new.currency or old.currency:
        _print_compared(f"Platforms, {currency} a month", old.platforms_a_month, new.platforms_a_month, digits=2)
    _print_problems(new)


def fleet_of(stack: DeployedStack, policy: Policy, progress: Progress) -> Fleet:
    """Return the fleet as the tables have it, or as Codat has it if no company was checked yet."""
    known = _of_tables(stack.tables)
    if any(company.checked_at for company in known.companies):
        return known
    return _of_tables(asyncio.run(_read_from_codat(stack, policy, progress)))


def _of_tables(tables: Tables) -> Fleet:
    return Fleet(
        companies=list(tables.companies.scan()),
        feeds=list(tables.feeds.scan()),
        limits=tables.control.api_limits(),
        at=clock(),
    )


async def _read_from_codat(stack: DeployedStack, policy: Policy, progress: Progress) -> Tables:
    """Run a tick of check_freshness, which lists and checks all companies. Return its tables, which are in memory.

    Raises:
        CommandError: Codat could not be read.
    """
    tables = tables_in_memory()
    services = Services(
        tables=tables,
        bus=_NoBus(),
        policy=policy,
        clock=clock,
        codat_access=stack.codat_access,
        emit=lambda _: None,
    )
    task = progress.add_task("Reading the companies from Codat", total=None)
    with _without_logs():
        tick = asyncio.create_task(check_freshness(services, Run(until=clock() + LONGEST, unfinished_since=None)))
        while not tick.done():
            await asyncio.wait([tick], timeout=0.2)
            checked = services.counts[Metric.COMPANIES_CHECKED]
            progress.update(task, completed=checked, total=tables.companies.count_known() or None)
        await tick
    if services.counts[Metric.LISTING_FAILED]:
        raise CommandError('Codat\'s list of companies could not be read: "./freshness doctor" says why.')
    return tables


class _NoBus(EventBus):
    """A bus that publishes nothing."""

    def __init__(self) -> None:
        pass

    def publish(self, *_: object) -> None:
        """Publish nothing."""


def _print(result: Plan) -> None:
    queued = sum(result.queued_now.values())
    print_text(f"{result.companies:,} companies, {result.feeds:,} data types kept fresh", "bold")
    by_type = ", ".join(f"{number:,} {data_type}" for data_type, number in list(result.queued_now.items())[:LISTED])
    print_text(f"Due now: {queued:,} refreshes" + (f" ({by_type})" if queued else ""))
    share = result.calls_a_day / result.quota
    print_text(f"A day: {result.calls_a_day:,.0f} calls of Codat, {share:.0%} of the quota of {result.quota:,}")
    aws = f"{result.aws_usd_a_month:,.2f} USD at AWS ({result.aws_usd_a_month_with_free_tier:,.2f} with its free tier)"
    print_text(f"A month: {aws}{_platforms(result)}")
    _print_problems(result)


def _platforms(result: Plan) -> str:
    if not result.currency:
        return "; [prices] of the policy has no price of a platform"
    return f", {result.platforms_a_month:,.2f} {result.currency} at the platforms with a price"


def _print_problems(result: Plan) -> None:
    for each in result.matches_nothing:
        print_text(f"Matches nothing: {each}", "yellow")
    for unkept in result.unkept:
        print_text(f"Not kept: {unkept.feeds:,} promises of {unkept.rule}: {unkept.why}", "yellow")
    if result.waiting_for_people:
        print_text(
            f"{result.waiting_for_people:,} data types wait for a person: ./freshness status lists them.", "yellow"
        )


def _print_promises(changed: Effect) -> None:
    if not changed.feeds:
        print_text("It changes no promise of the fleet.")
        return
    print_text(
        f"Promises: {changed.tightened:,} tightened, {changed.loosened:,} loosened, {changed.otherwise:,} changed "
        "otherwise"
    )
    for name in changed.named:
        print_text(f"    {name}")
    if changed.feeds > len(changed.named):
        print_text(f"    and {changed.feeds - len(changed.named):,} more")


def _print_compared(name: str, before: float, after: float, unit: str = "", digits: int = 0) -> None:
    print_text(f"{name}: {before:,.{digits}f} → {after:,.{digits}f}{unit}")


def _progress() -> Progress:
    """Return what shows progress on standard error, so that standard output has only the result."""
    return Progress(console=Console(stderr=True), transient=True)


@contextmanager
def _without_logs() -> Iterator[None]:
    """Drop the log messages of the use cases."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
