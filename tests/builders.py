"""What tests are about, as it usually is except for what is given: moments, connections, policies, reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

from freshness.domain.companies.company import Connection, ConnectionStatus
from freshness.domain.feeds.facts import ReadEnded
from freshness.domain.feeds.feed import Feed
from freshness.policy.policy import Policy

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""A Monday."""
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def a_connection(connection_id: str, status_at: datetime, **given: Any) -> Connection:
    """Return a connection that is linked to an accounting platform, except for what is given."""
    usual = {"platform": "Xero", "source_type": "Accounting", "status": ConnectionStatus.LINKED}
    return Connection(connection_id=connection_id, status_at=status_at, **usual | given)


LINKED = a_connection("connection", NOON - 30 * DAY)
NEW = Feed(company_id="company", data_type="invoices", connection_id="connection")
"""A new feed: nothing was requested or read yet."""


def a_policy(fresh_within: str = "1 day", **tables: Any) -> Policy:
    """Return a policy of a default and other tables."""
    return Policy.model_validate({"default": {"fresh_within": fresh_within}} | tables)


def an_operation(**given: Any) -> dict[str, Any]:
    """Return a dataset as Codat's API does."""
    usual = {"id": "dataset", "companyId": "company", "connectionId": "connection", "dataType": "invoices"}
    return usual | {"status": "Queued", "requested": "2026-11-23T12:00:00.0000000Z"} | given


def a_read(at: datetime, state: str = "Complete", **given: Any) -> ReadEnded:
    """Return the end of a read of a company's invoices that found changes."""
    usual = {"company_id": "company", "connection_id": "connection", "data_type": "invoices"}
    return ReadEnded(at=at, state=state, **usual | {"records_modified": True, "is_first": False} | given)
