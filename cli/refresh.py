"""`freshness refresh`: refreshing data types now, regardless of their promise."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from cli.arguments import CompanyName, Json, argument, selected_stack
from cli.errors import CommandError
from cli.output import new_table, print_error, print_json, print_table
from freshness.app.reading.text import duration
from freshness.app.reading.views import FeedView
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import OUTCOMES, DatasetState, Outcome, Trigger
from freshness.domain.feeds.feed import Feed, FeedKey
from stack_access.stack import DeployedStack, clock

QUEUED_WITHIN = timedelta(seconds=60)
"""How long to run ticks until the requested refreshes are queued: a tick is skipped while another one runs."""
ENDED_WITHIN = timedelta(hours=1)
"""How long to wait for the end of refreshes: an on-premise platform may take days."""
BETWEEN_LOOKS = timedelta(seconds=1)
BETWEEN_TICKS = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of the request for one data type."""

    data_type: str
    connection_id: str
    outcome: str
    dataset_id: str


def refresh(
    context: typer.Context,
    company: CompanyName,
    data_types: Annotated[list[str] | None, argument("[TYPE]...", "Data types; all of them if none is named.")] = None,
    *,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until they have ended, and show what they wait for; fail if one fails."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Refresh a company's data types now, once. A data type that is in flight already is not queued again."""
    stack = selected_stack(context)
    found = stack.queries.find_company(company)
    before = {feed.key: feed for feed in stack.queries.find_feeds(found, data_types or [])}
    requested = stack.operations.request_refreshes(found, before.values())
    if requested:
        _run_ticks(stack, found, {feed.key for feed in requested})
    if wait:
        _wait(stack, found, before.keys())
    after = [feed for feed in stack.queries.find_feeds(found) if feed.key in before]
    results = _results(stack, found, before, after)
    if as_json:
        print_json(results)
    else:
        table = new_table("data type", "outcome", "dataset")
        for result in results:
            table.add_row(result.data_type, result.outcome, result.dataset_id)
        print_table(table)
    if wait and (ended := [feed for feed in after if not _has_succeeded(feed)]):
        names = ", ".join(f"{feed.data_type} ({feed.end.state if feed.end else 'never read'})" for feed in ended)
        raise CommandError(f"These did not succeed: {names}. Failed ones are tried again by themselves.")
    if any(feed.refresh_requested_at for feed in after):
        raise CommandError(
            'Not all refreshes are queued yet; ticks will queue them as soon as possible. "./freshness doctor" shows '
            "what prevents it."
        )


def _run_ticks(stack: DeployedStack, company: Company, requested: set[FeedKey]) -> None:
    """Run ticks until the requested refreshes are queued, or `QUEUED_WITHIN` has passed."""
    deadline = time.monotonic() + QUEUED_WITHIN.total_seconds()
    while True:
        stack.invoke(stack.outputs.queue_refreshes_function)
        waiting = {feed.key for feed in stack.queries.find_feeds(company) if feed.refresh_requested_at}
        if not waiting & requested or time.monotonic() > deadline:
            return
        time.sleep(BETWEEN_TICKS.total_seconds())


def _wait(stack: DeployedStack, company: Company, keys: Collection[FeedKey]) -> None:
    """Wait until the refreshes have ended. Print to standard error what they wait for.

    Raises:
        CommandError: they cannot end before somebody acts, or have not ended within `ENDED_WITHIN`.
    """
    deadline, shown = time.monotonic() + ENDED_WITHIN.total_seconds(), ""
    while True:
        feeds = [feed for feed in stack.queries.find_feeds(company) if feed.key in keys]
        waiting = [feed for feed in feeds if feed.in_flight or feed.refresh_requested_at]
        if not waiting:
            return
        views = {view.key: view for view in stack.queries.company(company, clock())}
        text = ", ".join(f"{feed.data_type} ({_progress(feed, views.get(feed.key))})" for feed in waiting)
        obstacles = [view.diagnosis for feed in waiting if (view := views.get(feed.key)) and view.obstacle]
        if len(obstacles) == len(waiting):
            advice = " ".join(dict.fromkeys(each.next_action for each in obstacles if each))
            raise CommandError(f"These wait for somebody: {text}. {advice} They continue by themselves.")
        if time.monotonic() > deadline:
            raise CommandError(f"Not all refreshes have ended within {duration(ENDED_WITHIN)}; they continue: {text}.")
        if text != shown:
            print_error(f"Waiting for {text}")
            shown = text
        time.sleep(BETWEEN_LOOKS.total_seconds())


def _progress(feed: Feed, view: FeedView | None) -> str:
    """Return how far a refresh is, and what it waits for, if that is known."""
    if view and view.obstacle:
        return view.obstacle
    if feed.in_flight:
        return str(feed.running_state or DatasetState.QUEUED)
    return f"not queued: {view.next_reason}" if view else "not queued"


def _has_succeeded(feed: Feed) -> bool:
    """Return whether the latest read succeeded. An unsupported data type counts as if it had."""
    return feed.is_unsupported or (feed.end is not None and OUTCOMES[feed.end.state] is Outcome.COMPLETE)


def _results(stack: DeployedStack, company: Company, before: dict[FeedKey, Feed], after: list[Feed]) -> list[Result]:
    obstacles = {view.key: view.obstacle for view in stack.queries.company(company, clock())}
    return [
        Result(
            data_type=feed.data_type,
            connection_id=feed.connection_id,
            outcome=_outcome(before[feed.key], feed, obstacles.get(feed.key, "its connection is not known yet")),
            dataset_id=feed.last_dataset.dataset_id if feed.last_dataset else "",
        )
        for feed in after
    ]


def _outcome(before: Feed, after: Feed, obstacle: str) -> str:
    if after.refresh_requested_at:
        return "not queued yet"
    latest = after.last_dataset
    if latest and latest != before.last_dataset and latest.trigger is Trigger.OPERATOR:
        return "queued"
    return obstacle or "already in flight"
