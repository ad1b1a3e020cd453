"""Connections for tests."""

from datetime import datetime
from typing import Any

from freshness.domain.companies.company import Connection, ConnectionStatus


def a_connection(connection_id: str, status_at: datetime, **given: Any) -> Connection:
    """Return a connection that is linked to an accounting platform, except for what is given."""
    usual = {"platform": "Xero", "source_type": "Accounting", "status": ConnectionStatus.LINKED}
    return Connection(connection_id=connection_id, status_at=status_at, **usual | given)
