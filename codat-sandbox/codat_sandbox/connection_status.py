"""Changes of a connection's status, and the events that they cause."""

from dataclasses import replace
from datetime import datetime

from codat_sandbox.events import EventLog
from codat_sandbox.model import ConnectionEventType, ConnectionStatus
from codat_sandbox.store import Store


def change_status(
    store: Store, events: EventLog, company_id: str, connection_id: str, status: ConnectionStatus, now: datetime
) -> None:
    """Set the status of a connection, and add the event that Codat sends for the change, if any.

    Raises:
        CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
    """
    before = store.connection(company_id, connection_id)
    connection = replace(before, status=status, error=_error(status))
    store.put_connection(company_id, connection)
    event_type = _event_type(before.status, status)
    if event_type is not None:
        events.add_connection_event(event_type, store.company(company_id), connection, now)


def _event_type(before: ConnectionStatus, after: ConnectionStatus) -> ConnectionEventType | None:
    if after is ConnectionStatus.PENDING_AUTH:
        return ConnectionEventType.FAILED
    if before is after:
        return None
    if after is not ConnectionStatus.LINKED:
        return ConnectionEventType.DISCONNECTED
    is_first_link = before is ConnectionStatus.PENDING_AUTH
    return ConnectionEventType.CONNECTED if is_first_link else ConnectionEventType.RECONNECTED


def _error(status: ConnectionStatus) -> str | None:
    if status is ConnectionStatus.PENDING_AUTH:
        return "The customer cancelled linking."
    if status is ConnectionStatus.DEAUTHORIZED:
        return "The platform refused the authorization."
    return None
