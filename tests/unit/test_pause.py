"""What a tick does while a person wants nothing to be refreshed."""

from dataclasses import replace
from datetime import UTC, datetime

from freshness.company import Company, Connection, ConnectionStatus
from freshness.dataset import AskedBy
from freshness.planner import Action, decide
from freshness.policy import Policy
from freshness.row import Request, Row

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = Policy.model_validate({"default": {"fresh_within": "1 day"}})
LINKED = Connection(
    connection_id="connection",
    platform="Xero",
    source_type="Accounting",
    status=ConnectionStatus.LINKED,
    status_at=NOON,
)
COMPANY = Company(company_id="company", connections={"connection": LINKED})
DUE = Row(company_id="company", data_type="invoices", connection_id="connection", due_at=NOON)


def action(row: Row, company: Company, *, paused: bool = False) -> Action:
    [decision] = decide([row], {"company": company}, POLICY, NOON, paused=paused)
    return decision.action


def test_a_row_of_a_paused_company_is_taken_out_of_sight() -> None:
    assert action(DUE, COMPANY) is Action.QUEUE
    assert action(DUE, replace(COMPANY, paused=True)) is Action.LEAVE


def test_while_all_is_paused_rows_wait_in_sight() -> None:
    assert action(DUE, COMPANY, paused=True) is Action.WAIT


def test_a_dataset_that_is_late_is_found_out_about_even_during_a_pause() -> None:
    late = DUE.requested(Request(at=NOON.replace(hour=1), asked_by=AskedBy.PROMISE))

    assert action(late, replace(COMPANY, paused=True), paused=True) is Action.CHECK
