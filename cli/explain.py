"""`freshness explain`: why a data type is or is not refreshed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.companies import CompanyName, find_company, find_rows
from cli.fleet import Line, lines_of
from cli.output import Json, duration, moment, say, say_json, show, table
from cli.target import Target, target
from freshness.budget import allowance
from freshness.company import Company
from freshness.dataset import Dataset
from freshness.planner import Action, Decision, decide
from freshness.row import Decided, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All there is to know of one row."""

    line: Line
    rule: str
    """What of the policy promises it."""
    action: Action
    """What a tick does about it now."""
    why: str
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
    explanations = [_explanation(stack, found, row) for row in find_rows(stack.store, found, [data_type])]
    if as_json:
        say_json(explanations)
        return
    for explanation in explanations:
        _show(explanation)


def _explanation(stack: Target, company: Company, row: Row) -> Explanation:
    now = datetime.now(UTC)
    [line] = lines_of(company, [row], stack.store, stack.policy, now)
    decision = _decision(stack, company, row, now)
    datasets = [
        dataset
        for dataset in stack.store.datasets(company.company_id)
        if (dataset.data_type, dataset.connection_id) == (row.data_type, row.connection_id)
    ]
    return Explanation(
        line=line,
        rule=stack.policy.promise(row.data_type, company, company.connections[row.connection_id]).place,
        action=decision.action,
        why=f"{decision.reason}: {line.obstacle}" if line.obstacle else decision.reason,
        until=decision.until,
        changes_per_day=row.changes_per_day,
        last_decided=row.decided,
        datasets=tuple(sorted(datasets, key=lambda dataset: dataset.requested_at, reverse=True)),
    )


def _decision(stack: Target, company: Company, row: Row, now: datetime) -> Decision:
    """What the next tick would decide of a row: of its set and its connection's share, the other rows tell."""
    decisions = decide(
        stack.store.rows(company.company_id),
        {company.company_id: company},
        stack.policy,
        now,
        paused=stack.store.is_paused(),
        allowance=allowance(stack.policy.budget, stack.store.quota(), now),
    )
    return next(decision for decision in decisions if decision.row == row)


def _show(explanation: Explanation) -> None:
    line = explanation.line
    say(f"{line.data_type} of {line.company_name}, from {line.platform} ({line.connection_id})", "bold")
    say(f"Promise   no older than {duration(line.promise)}, by {explanation.rule}")
    say(f"Now       {line.state}, {duration(line.age)} old" if line.age else f"Now       {line.state}, never read")
    until = f", until {moment(explanation.until)} UTC" if explanation.until else ""
    say(f"Next      {explanation.action}: {explanation.why}{until}")
    if explanation.last_decided:
        say(f"Before    {explanation.last_decided.reason}, at {moment(explanation.last_decided.at)} UTC")
    if explanation.changes_per_day:
        say(f"Learned   it changes {explanation.changes_per_day:.2g} times a day")
    shown = table("requested (UTC)", "asked by", "state", "took", "changed", "dataset")
    for dataset in explanation.datasets:
        took = duration(dataset.ended_at - dataset.requested_at) if dataset.ended_at else "-"
        changed = {True: "yes", False: "no", None: "-"}[dataset.records_modified]
        cells = str(dataset.asked_by), dataset.state, took, changed, dataset.dataset_id
        shown.add_row(moment(dataset.requested_at), *cells)
    show(shown)
