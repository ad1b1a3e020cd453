"""`freshness explain`: why a data type is or is not refreshed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.companies import CompanyName, find_company, find_rows
from cli.fleet import Line, lines_of
from cli.output import Json, duration, moment, say, say_json, show, table
from cli.target import Target, target
from freshness.company import Company
from freshness.dataset import Dataset
from freshness.planner import Action, decide
from freshness.row import Row

WHY = {
    Action.QUEUE: "It is due: the next tick queues a refresh.",
    Action.WAIT: "Its dataset is in flight, and not late.",
    Action.CHECK: "Its dataset is late: the next tick has Codat asked about it.",
    Action.LEAVE: "Its company is paused.",
    Action.PLAN_ANEW: "It is not due.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All there is to know of one row."""

    line: Line
    rule: str
    """What of the policy promises it."""
    action: Action
    why: str
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
    paused = stack.store.is_paused()
    [line] = lines_of(company, [row], stack.store, stack.policy, now)
    [decision] = decide([row], {company.company_id: company}, stack.policy, now, paused=paused)
    datasets = [
        dataset
        for dataset in stack.store.datasets(company.company_id)
        if (dataset.data_type, dataset.connection_id) == (row.data_type, row.connection_id)
    ]
    why = WHY[decision.action]
    if paused and decision.action is Action.WAIT and not row.in_flight:
        why = "It is due, but everything is paused."
    named = row.data_type in stack.policy.data_types
    return Explanation(
        line=line,
        rule=f"data_types.{row.data_type}" if named else "default",
        action=decision.action,
        why=line.obstacle or why,
        datasets=tuple(sorted(datasets, key=lambda dataset: dataset.requested_at, reverse=True)),
    )


def _show(explanation: Explanation) -> None:
    line = explanation.line
    say(f"{line.data_type} of {line.company_name}, from {line.platform} ({line.connection_id})", "bold")
    say(f"Promise   no older than {duration(line.promise)}, by [{explanation.rule}] of the policy")
    say(f"Now       {line.state}, {duration(line.age)} old" if line.age else f"Now       {line.state}, never read")
    say(f"Due       {moment(line.due_at)} UTC" if line.due_at else "Due       never")
    say(f"Why       {explanation.why}")
    shown = table("requested (UTC)", "asked by", "state", "took", "changed", "dataset")
    for dataset in explanation.datasets:
        took = duration(dataset.ended_at - dataset.requested_at) if dataset.ended_at else "-"
        changed = {True: "yes", False: "no", None: "-"}[dataset.records_modified]
        cells = str(dataset.asked_by), dataset.state, took, changed, dataset.dataset_id
        shown.add_row(moment(dataset.requested_at), *cells)
    show(shown)
