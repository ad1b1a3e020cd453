"""Requests to queue data types."""

import pytest

from codat_sandbox.errors import DatasetAlreadyInProgressError, NotSupportedByPlatformError
from codat_sandbox.model import ConnectionStatus
from codat_sandbox.platforms import FETCH_ON_FIRST_LINK, PLAID, TRUELAYER, XERO, DataType
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import MINUTE, NOON, backend_with


def test_a_data_type_is_queued_on_each_connection_that_has_it(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO, PLAID, TRUELAYER)
    backend.advance(NOON + MINUTE)

    first = backend.queue(company.id, DataType.BANKING_TRANSACTIONS, NOON + MINUTE)

    running = [dataset for dataset in backend.history(company.id, NOON + MINUTE) if dataset.is_running]
    assert [d.connection_id for d in running] == [company.connections[1].id, company.connections[2].id]
    assert first == running[0]


def test_a_data_type_can_be_queued_on_one_connection(settings: Settings) -> None:
    backend, company = backend_with(settings, PLAID, TRUELAYER)
    now = NOON + MINUTE
    truelayer = company.connections[1].id

    backend.queue(company.id, DataType.BANKING_TRANSACTIONS, now, truelayer)

    running = [dataset for dataset in backend.history(company.id, now) if dataset.is_running]
    assert [dataset.connection_id for dataset in running] == [truelayer]
    with pytest.raises(DatasetAlreadyInProgressError):
        backend.queue(company.id, DataType.BANKING_TRANSACTIONS, now)
    backend.queue(company.id, DataType.BANKING_TRANSACTIONS, now, company.connections[0].id)


def test_a_running_data_type_is_not_queued_again_and_the_error_names_its_dataset(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO)
    now = NOON + MINUTE
    dataset = backend.queue(company.id, DataType.INVOICES, now)

    with pytest.raises(DatasetAlreadyInProgressError) as refusal:
        backend.queue(company.id, DataType.INVOICES, now)

    assert str(refusal.value) == (
        f"DatasetAlreadyInProgressException: Cannot queue invoices sync for {company.id}"
        f" as previous sync {dataset.id} is still in progress"
    )
    assert refusal.value.dataset_id == dataset.id
    backend.queue(company.id, DataType.INVOICES, now + MINUTE)


def test_a_data_type_that_no_platform_supports_is_refused(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO, PLAID)

    with pytest.raises(NotSupportedByPlatformError, match=r"^Datatype \[commerce-orders\] not supported"):
        backend.queue(company.id, DataType.COMMERCE_ORDERS, NOON)


def test_queueing_all_queues_the_first_link_types_of_linked_connections(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO, PLAID)
    now = NOON + MINUTE
    backend.set_connection_status(company.id, company.connections[0].id, ConnectionStatus.DEAUTHORIZED, now)

    backend.queue_all(company.id, now)
    backend.queue_all(company.id, now)

    running = {d.data_type for d in backend.history(company.id, now) if d.is_running}
    assert running == set(PLAID.data_types) & FETCH_ON_FIRST_LINK
