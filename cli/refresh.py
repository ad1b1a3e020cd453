"""`freshness refresh`: having data types refreshed now, whatever their promise says."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.companies import CompanyName, find_company, find_feeds
from cli.errors import CommandError
from cli.fleet import decisions_on, lines_of
from cli.output import Json, say_json, show, table
from cli.target import Target, target
from cli.ticks import run_tick, ticks_client
from freshness.domain.company import Company
from freshness.domain.dataset import Trigger
from freshness.domain.feed import Feed

PATIENCE = timedelta(seconds=60)
"""How long a tick is given to queue what was asked for; one that runs already is waited for."""
PAUSE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of one data type."""

    data_type: str
    connection_id: str
    outcome: str
    dataset_id: str


def refresh(
    context: typer.Context,
    company: CompanyName,
    data_types: Annotated[
        list[str] | None, typer.Argument(metavar="[TYPE]...", help="Data types; all of them if none is named.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Have a company's data types refreshed now, once. What is in flight already is not asked for again."""
    stack = target(context)
    found = find_company(stack.store, company)
    feeds = find_feeds(stack.store, found, data_types or [])
    _require_unpaused(stack, found)
    before = {(feed.data_type, feed.connection_id): feed for feed in feeds}
    wanted = [feed for feed in feeds if _may_be_asked_for(stack, found, feed)]
    now = datetime.now(UTC)
    for feed in wanted:
        _ask_for(stack, found, feed, now)
    if wanted:
        _await_tick(stack, wanted)
    after = [stack.store.feed(feed.company_id, feed.data_type, feed.connection_id) for feed in feeds]
    asked = [_asked(stack, found, before[feed.data_type, feed.connection_id], feed) for feed in after]
    if as_json:
        say_json(asked)
    else:
        _show(asked)
    if any(feed.refresh_requested_at for feed in after):
        raise CommandError('Not all was queued; it will be as soon as it can. "./freshness doctor" tells what hinders.')


def _require_unpaused(stack: Target, company: Company) -> None:
    if company.paused:
        raise CommandError(f'{company.name} is paused: "./freshness resume {company.company_id}" takes that back.')
    if stack.store.is_paused():
        raise CommandError('Everything is paused: "./freshness resume" takes that back.')


def _may_be_asked_for(stack: Target, company: Company, feed: Feed) -> bool:
    connection = company.connections.get(feed.connection_id)
    if connection is None or feed.in_flight:
        return False
    return feed.due(stack.policy.promise(feed.data_type, company, connection), connection) is not None


def _ask_for(stack: Target, company: Company, feed: Feed, now: datetime) -> None:
    connection = company.connections[feed.connection_id]
    promise = stack.policy.promise(feed.data_type, company, connection)
    stack.store.change_feed(feed, lambda feed: feed.asked_for(now).planned(promise, connection))


def _await_tick(stack: Target, wanted: list[Feed]) -> None:
    """Have ticks run until one has queued what is wanted: one that runs already leaves no room for another."""
    client, deadline = ticks_client(stack), time.monotonic() + PATIENCE.total_seconds()
    while True:
        run_tick(client, stack.outputs.queue_refreshes_function)
        feeds = (stack.store.feed(feed.company_id, feed.data_type, feed.connection_id) for feed in wanted)
        if not any(feed.refresh_requested_at for feed in feeds) or time.monotonic() > deadline:
            return
        time.sleep(PAUSE.total_seconds())


def _asked(stack: Target, company: Company, before: Feed, after: Feed) -> Asked:
    now = datetime.now(UTC)
    decisions = decisions_on([after], [company], stack.store, stack.policy, now)
    line = next(lines_of(company, [after], decisions, stack.store, stack.policy, now), None)
    return Asked(
        data_type=after.data_type,
        connection_id=after.connection_id,
        outcome=_outcome(before, after, line.obstacle if line else "its connection is not known yet"),
        dataset_id=after.request.dataset_id if after.request else "",
    )


def _outcome(before: Feed, after: Feed, obstacle: str) -> str:
    if after.refresh_requested_at:
        return "not queued yet"
    if after.request and after.request != before.request and after.request.trigger is Trigger.OPERATOR:
        return "queued"
    return obstacle or "already in flight"


def _show(asked: list[Asked]) -> None:
    shown = table("data type", "outcome", "dataset")
    for one in asked:
        shown.add_row(one.data_type, one.outcome, one.dataset_id)
    show(shown)
