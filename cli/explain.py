"""`freshness explain`: why a data type is or is not refreshed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.companies import CompanyName, find_company, find_feeds
from cli.fleet import Line, decisions_on, lines_of, reason_with_names
from cli.output import Json, duration, moment, say, say_json, show, table
from cli.target import Target, target
from freshness.domain.company import Company
from freshness.domain.dataset import Dataset
from freshness.domain.feed import Decided
from freshness.planning.planner import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All there is to know of one feed."""

    line: Line
    action: Action
    """What a tick does about it now."""
    reason: str
    until: datetime | None
    """When it comes into sight again, or may be refreshed, if that is known."""
    changes_per_day: float | None
    """How often it was learned to change at the source."""
    last_decided: Decided | None
    """Why a tick wrote it last."""
    datasets: tuple[Dataset, ...]
    """What was read before, newest first."""


def explain(
    context: typer.Context,
    company: CompanyName,
    data_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="One of Codat's data types, such as invoices.", show_default=False)
    ],
    *,
    as_json: Json = False,
) -> None:
    """Tell what is promised of a company's data type, whether it is due and why, and what was read before."""
    stack = target(context)
    found = find_company(stack.store, company)
    explanations = list(_explanations(stack, found, data_type))
    if as_json:
        say_json(explanations)
        return
    for explanation in explanations:
        _show(explanation)


def _explanations(stack: Target, company: Company, data_type: str) -> Iterator[Explanation]:
    feeds = find_feeds(stack.store, company, [data_type])
    now = datetime.now(UTC)
    decisions = decisions_on(stack.store.feeds(company.company_id), [company], stack.store, stack.policy, now)
    datasets = sorted(stack.store.datasets(company.company_id), key=lambda dataset: dataset.requested_at, reverse=True)
    for line in lines_of(company, feeds, decisions, stack.store, stack.policy, now):
        decision = decisions[line.key]
        reason = reason_with_names(decision.reason, decision, stack.policy)
        key = line.data_type, line.connection_id
        yield Explanation(
            line=line,
            action=decision.action,
            reason=f"{reason}: {line.obstacle}" if line.obstacle else reason,
            until=decision.until,
            changes_per_day=decision.feed.changes_per_day,
            last_decided=decision.feed.decided,
            datasets=tuple(dataset for dataset in datasets if (dataset.data_type, dataset.connection_id) == key),
        )


def _show(explanation: Explanation) -> None:
    line = explanation.line
    say(f"{line.data_type} of {line.company_name}, from {line.platform} ({line.connection_id})", "bold")
    say(f"Promise   no older than {duration(line.promise)}, by {line.rule}")
    say(f"Now       {line.state}, {duration(line.age)} old" if line.age else f"Now       {line.state}, never read")
    until = f", until {moment(explanation.until)} UTC" if explanation.until else ""
    say(f"Next      {explanation.action}: {explanation.reason}{until}")
    if explanation.last_decided:
        say(f"Before    {line.why}, at {moment(explanation.last_decided.at)} UTC")
    if explanation.changes_per_day:
        say(f"Learned   it changes {explanation.changes_per_day:.2g} times a day")
    shown = table("requested (UTC)", "asked by", "state", "took", "changed", "dataset")
    for dataset in explanation.datasets:
        took = duration(dataset.ended_at - dataset.requested_at) if dataset.ended_at else "-"
        changed = {True: "yes", False: "no", None: "-"}[dataset.records_modified]
        cells = str(dataset.trigger), dataset.state, took, changed, dataset.dataset_id
        shown.add_row(moment(dataset.requested_at), *cells)
    show(shown)
