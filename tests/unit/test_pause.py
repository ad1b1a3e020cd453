"""What a tick does while refreshes are paused."""

from dataclasses import replace
from datetime import UTC, datetime

from freshness.domain.company import Company, Connection, ConnectionStatus
from freshness.domain.dataset import Trigger
from freshness.domain.feed import Feed
from freshness.domain.feed_values import Request
from freshness.planning.decision import Action
from freshness.planning.planner import decide
from freshness.policy.policy import Policy

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
DUE = Feed(company_id="company", data_type="invoices", connection_id="connection", due_at=NOON)


def action(feed: Feed, company: Company, *, paused: bool = False) -> Action:
    [decision] = decide([feed], {"company": company}, POLICY, NOON, paused=paused)
    return decision.action


def test_a_due_feed_of_a_paused_company_is_removed_from_the_index() -> None:
    assert action(DUE, COMPANY) is Action.QUEUE
    assert action(DUE, replace(COMPANY, paused=True)) is Action.HIDE


def test_while_everything_is_paused_due_feeds_stay_in_the_index() -> None:
    assert action(DUE, COMPANY, paused=True) is Action.WAIT


def test_a_late_dataset_is_checked_even_during_a_pause() -> None:
    late = DUE.requested(Request(at=NOON.replace(hour=1), trigger=Trigger.PROMISE))

    assert action(late, replace(COMPANY, paused=True), paused=True) is Action.CHECK
