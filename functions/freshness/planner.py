"""What to do about each row that a tick looks at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from freshness.company import Company
from freshness.policy import Policy
from freshness.row import Row


class Action(StrEnum):
    """What a tick does about a row."""

    QUEUE = "queue"
    """Queue a refresh."""
    WAIT = "wait"
    """Its dataset is in flight and not late, or all is paused."""
    CHECK = "check"
    """Its dataset is late, or its connection unknown: have its company checked."""
    LEAVE = "leave"
    """Its company is paused: take it out of sight until that is resumed and checked."""
    PLAN_ANEW = "plan anew"
    """It is due later than the index has it, or never: what it is due by has changed since it was planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about one row."""

    row: Row
    company: Company
    action: Action


def decide(
    rows: Iterable[Row], companies: Mapping[str, Company], policy: Policy, now: datetime, *, paused: bool = False
) -> list[Decision]:
    """Decide about every row that is due, longest due first. While all is paused, nothing is queued."""
    decisions = []
    for row in sorted(rows, key=lambda row: (row.due_at or now, row.company_id, row.data_type, row.connection_id)):
        company = companies.get(row.company_id) or Company(company_id=row.company_id)
        decisions.append(Decision(row=row, company=company, action=_action(row, company, policy, now, paused)))
    return decisions


def _action(row: Row, company: Company, policy: Policy, now: datetime, paused: bool) -> Action:
    connection = company.connections.get(row.connection_id)
    if connection is None:
        return Action.CHECK
    due = row.due(policy.promise(row.data_type, company, connection), connection)
    if row.in_flight and row.late_at:
        return Action.CHECK if row.late_at <= now else Action.WAIT
    if due is None or due > now:
        return Action.PLAN_ANEW
    if company.paused:
        return Action.LEAVE
    return Action.WAIT if paused else Action.QUEUE
