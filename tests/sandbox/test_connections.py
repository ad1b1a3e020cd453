"""Companies and connections that are added, changed and deleted."""

import pytest

from codat_sandbox.backend import CodatBackend
from codat_sandbox.errors import NoLinkedConnectionError, NotFoundError
from codat_sandbox.model import CompanyEvent, ConnectionEvent, ConnectionStatus, DatasetStatus
from codat_sandbox.platforms import PLAID, XERO, DataType
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import MINUTE, NOON, backend_with, reads


def test_syncs_of_a_deauthorized_connection_end_in_auth_error_until_it_is_linked_again(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO)
    backend.advance(NOON + MINUTE)
    [connection] = company.connections
    backend.set_connection_status(company.id, connection.id, ConnectionStatus.DEAUTHORIZED, NOON + MINUTE)
    refused = backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)
    events = backend.advance(NOON + 2 * MINUTE)
    linked = backend.set_connection_status(company.id, connection.id, ConnectionStatus.LINKED, NOON + 2 * MINUTE)
    read = backend.queue(company.id, DataType.INVOICES, NOON + 2 * MINUTE)
    events += backend.advance(NOON + 3 * MINUTE)

    assert backend.dataset(company.id, refused.id, NOON + 3 * MINUTE).status is DatasetStatus.AUTH_ERROR
    assert backend.dataset(company.id, read.id, NOON + 3 * MINUTE).status is DatasetStatus.COMPLETE
    assert linked.error is None
    assert [event.event_type for event in events] == [
        "connection.disconnected",
        "read.completed",
        "read.completed.unsuccessful",
        "connection.reconnected",
        "read.completed",
        "read.completed.successful",
    ]


def test_unlinking_a_connection_ends_its_running_syncs(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO)
    [connection] = company.connections

    backend.advance(NOON)
    backend.set_connection_status(company.id, connection.id, ConnectionStatus.UNLINKED, NOON)

    events = [e for e in backend.advance(NOON) if isinstance(e, ConnectionEvent)]
    assert [event.connection.status for event in events] == [ConnectionStatus.UNLINKED]
    assert {d.status for d in backend.history(company.id, NOON)} == {DatasetStatus.AUTH_ERROR}
    with pytest.raises(NoLinkedConnectionError):
        backend.queue(company.id, DataType.INVOICES, NOON)


def test_a_lapsed_authorization_disconnects_the_connection(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO, authorization_lapses=1)

    events = backend.advance(NOON + MINUTE)

    assert backend.company(company.id).connections[0].status is ConnectionStatus.DEAUTHORIZED
    assert backend.active_companies == 0
    assert sum(event.event_type == "connection.disconnected" for event in events) == 1


def test_reads_can_be_refused_for_a_while_although_the_connection_stays_linked(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO)
    backend.advance(NOON + MINUTE)
    [connection] = company.connections
    ends = []
    for minute, refuses in enumerate((True, False), start=1):
        backend.change_connection(company.id, connection.id, NOON + minute * MINUTE, refuses_reads=refuses)
        read = backend.queue(company.id, DataType.INVOICES, NOON + minute * MINUTE)
        ends.append(backend.dataset(company.id, read.id, NOON + (minute + 1) * MINUTE).status)

    assert ends == [DatasetStatus.AUTH_ERROR, DatasetStatus.COMPLETE]
    assert backend.connection(company.id, connection.id).status is ConnectionStatus.LINKED


def test_relinking_grants_missing_permissions(settings: Settings) -> None:
    backend = CodatBackend(settings.model_copy(update={"companies": 1, "permissions_error": 1}), NOON)
    [company] = backend.companies()
    xero = company.connections[0].id
    before = backend.queue(company.id, DataType.INVOICES, NOON)
    backend.advance(NOON + MINUTE)

    backend.set_connection_status(company.id, xero, ConnectionStatus.LINKED, NOON + MINUTE)
    after = backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)

    now = NOON + 2 * MINUTE
    assert backend.dataset(company.id, before.id, now).status is DatasetStatus.PERMISSIONS_ERROR
    assert backend.dataset(company.id, after.id, now).status is DatasetStatus.COMPLETE


def test_creating_and_deleting_a_company_sends_events(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO)
    created = backend.advance(NOON)
    backend.delete_company(company.id, NOON)
    deleted = backend.advance(NOON + MINUTE)

    assert [event.event_type for event in created] == ["company.created", "connection.created", "connection.connected"]
    assert [event.event_type for event in deleted] == ["company.deleted"]
    assert isinstance(deleted[0], CompanyEvent)
    with pytest.raises(NotFoundError):
        backend.data_status(company.id, NOON + MINUTE)


def test_a_new_connection_is_read_once_linked_and_deleting_it_cancels_its_syncs(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO)
    backend.advance(NOON + MINUTE)
    now = NOON + MINUTE
    plaid = backend.add_connection(company.id, PLAID, now)
    backend.set_connection_status(company.id, plaid.id, ConnectionStatus.PENDING_AUTH, now)
    backend.set_connection_status(company.id, plaid.id, ConnectionStatus.LINKED, now)
    backend.delete_connection(company.id, plaid.id, now)

    events = backend.advance(now)

    event_types = [event.event_type for event in events if isinstance(event, ConnectionEvent)]
    assert event_types == ["connection.created", "connection.failed", "connection.connected", "connection.deleted"]
    assert {read.status for event in reads(events) for read in event.reads} == {DatasetStatus.CANCELLED}
    assert [connection.platform for connection in backend.company(company.id).connections] == [XERO]
