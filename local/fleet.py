"""What the tables tell of every company and data type, as a person wants to see it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import boto3

from freshness.company import Connection
from freshness.dataset import AskedBy, Dataset, DatasetState
from freshness.planner import Decision, Reason, decide
from freshness.policy import Policy
from freshness.row import End, Request, State
from freshness.store import Store, Tables
from freshness.times import BEGINNING
from local.deploy import Outputs

ON_PREMISE = ("QuickBooks Desktop", "Sage 50")
"""Platforms that Codat reads only while the customer's own machine is online."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One data type of a company, from one connection.

    `rule` says what of the policy promises it, `why` what was decided of it last, or would be now, and `obstacle`
    why it cannot be fresh, if it cannot.
    """

    company_id: str
    company_name: str
    data_type: str
    connection_id: str
    platform: str
    state: State
    age: timedelta | None
    promise: timedelta
    keeps_promise: bool
    is_due: bool
    dataset_id: str
    moved_at: datetime
    rule: str
    why: str
    obstacle: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells this line from the others."""
        return self.company_id, self.data_type, self.connection_id


@dataclass(frozen=True, slots=True)
class Fleet:
    """All lines at one moment, by company and data type, and how many refreshes were queued so far."""

    lines: tuple[Line, ...]
    refreshes: int

    @property
    def states(self) -> Counter[State]:
        """How many lines are in each state."""
        return Counter(line.state for line in self.lines)

    @property
    def overdue(self) -> tuple[Line, ...]:
        """The lines that could be fresh and are not."""
        return tuple(line for line in self.lines if not line.keeps_promise and not line.obstacle)

    @property
    def hindered(self) -> tuple[Line, ...]:
        """The lines that cannot be fresh now."""
        return tuple(line for line in self.lines if not line.keeps_promise and line.obstacle)


class FleetReader:
    """Reads the tables of a small fleet, whole."""

    def __init__(self, outputs: Outputs, policy: Policy) -> None:
        self._dynamodb = boto3.client("dynamodb")
        self._tables = Tables(
            companies=outputs.companies_table,
            freshness=outputs.freshness_table,
            datasets=outputs.datasets_table,
            control=outputs.control_table,
        )
        self._store = Store(self._dynamodb, self._tables)
        self._policy = policy

    def read(self, now: datetime) -> Fleet:
        """The fleet as the tables tell of it now."""
        lines: list[Line] = []
        refreshes = 0
        companies = self._store.companies(self._company_ids())
        for company in sorted(companies.values(), key=lambda company: (company.name, company.company_id)):
            datasets = {dataset.dataset_id: dataset for dataset in self._store.datasets(company.company_id)}
            refreshes += sum(dataset.asked_by is not AskedBy.OTHERS for dataset in datasets.values())
            decisions = decide(self._store.rows(company.company_id), {company.company_id: company}, self._policy, now)
            for decision in sorted(decisions, key=lambda each: (each.row.data_type, each.row.connection_id)):
                if connection := company.connections.get(decision.row.connection_id):
                    lines.append(self._line(decision, connection, datasets, now))
        return Fleet(tuple(lines), refreshes)

    def datasets(self, company_id: str) -> list[Dataset]:
        """Every dataset of a company that the tables know."""
        return self._store.datasets(company_id)

    def _company_ids(self) -> Iterator[str]:
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._tables.companies, ProjectionExpression="company_id"
        )
        return (item["company_id"]["S"] for page in pages for item in page["Items"])

    def _line(self, decision: Decision, connection: Connection, datasets: dict[str, Dataset], now: datetime) -> Line:
        row, company = decision.row, decision.company
        promise = self._policy.promise(row.data_type, company, connection)
        state = row.state(promise, connection, now)
        known: tuple[Request | End | None, ...] = row.request, row.end
        moves = sorted((move for move in known if move), key=lambda move: move.at, reverse=True)
        dataset = datasets.get(row.in_flight.dataset_id) if row.in_flight else None
        return Line(
            company_id=company.company_id,
            company_name=company.name,
            data_type=row.data_type,
            connection_id=row.connection_id,
            platform=connection.platform,
            state=state,
            age=row.age(now),
            promise=promise.fresh_within,
            keeps_promise=row.keeps(promise, now),
            is_due=row.in_flight is None and row.due_at is not None and row.due_at <= now,
            # A webhook does not say which dataset ended: it is the one that was asked for last.
            dataset_id=next((move.dataset_id for move in moves if move.dataset_id), ""),
            moved_at=moves[0].at if moves else BEGINNING,
            rule=promise.place,
            why=row.decided.reason if row.decided else decision.reason,
            obstacle=_obstacle(state, connection, decision, dataset),
        )


def _obstacle(state: State, connection: Connection, decision: Decision, dataset: Dataset | None) -> str:
    row = decision.row
    match state:
        case State.STALE if decision.reason is Reason.OUTSIDE_WINDOW and decision.until:
            return f"the policy's window opens at {decision.until:%H:%M} UTC"
        case State.OFF:
            return "the policy has it off"
        case State.UNSUPPORTED:
            return f"{connection.platform} has no such data type"
        case State.BLOCKED if not connection.is_linked:
            return f"the customer must relink {connection.platform}: {connection.link_url}"
        case State.BLOCKED:
            end = row.end.state if row.end else ""
            return f"the customer must give {connection.platform} its permissions back ({end}): {connection.link_url}"
        case State.REFRESHING if connection.platform.startswith(ON_PREMISE) and _waits(dataset):
            return f"the customer's machine with {connection.platform} is offline"
        case _:
            return ""


def _waits(dataset: Dataset | None) -> bool:
    return dataset is not None and dataset.state == DatasetState.QUEUED
