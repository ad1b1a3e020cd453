"""Generated companies, as they are in the tables, and Codat's responses and webhooks about them."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

import httpx

from freshness.domain.companies.company import Company, Connection
from freshness.domain.datasets.dataset import Dataset, DatasetState, Trigger
from freshness.domain.datasets.sync_history import KEPT, Sync, SyncHistory
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request
from freshness.domain.feeds.schedule import reschedule
from freshness.policy.policy import Policy

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SYNC_TIME = timedelta(seconds=20)
DATA_TYPES = "accounts bills company customers invoices items payments suppliers transfers accountTransactions".split()
"""The data types of each company, all from one accounting connection."""


def company_id(number: int) -> str:
    """Return the id of a company, a UUID like those of Codat."""
    return str(uuid5(NAMESPACE_URL, f"company/{number}"))


def company(number: int) -> Company:
    """Return a company that was checked at `NOW`, with one accounting connection."""
    connection = Connection(
        connection_id=str(uuid5(NAMESPACE_URL, f"connection/{number}")),
        platform="QuickBooks Online",
        source_type="Accounting",
        status="Linked",
        status_at=NOW - timedelta(days=30),
        first_read_at=NOW - timedelta(days=30),
        link_url=f"https://link.codat.io/company/{company_id(number)}",
    )
    return Company(
        company_id=company_id(number),
        name=f"Company {number}",
        connections={connection.connection_id: connection},
        check_at=NOW + timedelta(days=1),
        checked_at=NOW,
    )


def due_feeds(company: Company, policy: Policy) -> Iterator[Feed]:
    """Yield the feeds of a company, each due but still within its promise, with as much data as a feed usually has."""
    [connection] = company.connections.values()
    for data_type in DATA_TYPES:
        promise = policy.promise(data_type, company, connection)
        succeeded_at = NOW - promise.fresh_within + timedelta(seconds=40)
        history = SyncHistory.of(
            Sync(ended_at=succeeded_at - timedelta(hours=6) * age, records_modified=age % 2 == 0, took=SYNC_TIME)
            for age in reversed(range(KEPT))
        )
        dataset_id = str(uuid5(NAMESPACE_URL, f"{company.company_id}/{data_type}"))
        feed = Feed(
            company_id=company.company_id,
            data_type=data_type,
            connection_id=connection.connection_id,
            last_dataset=Request(at=succeeded_at - SYNC_TIME, trigger=Trigger.PROMISE, dataset_id=dataset_id),
            end=End(at=succeeded_at, state="Complete", dataset_id=dataset_id),
            succeeded_at=succeeded_at,
            attempts=1,
            history=history,
            changes_per_day=1 / 3,
            requests_that_day=4,
            platform_sync_time=SYNC_TIME,
        )
        yield reschedule(feed, promise, connection)


def feeds_in_flight(company: Company, policy: Policy) -> Iterator[Feed]:
    """Yield the feeds of a company as `due_feeds` does, each after its refresh was queued."""
    for feed in due_feeds(company, policy):
        dataset_id = str(uuid5(NAMESPACE_URL, f"{company.company_id}/{feed.data_type}/{NOW}"))
        yield feed.requested(Request(at=NOW, trigger=Trigger.PROMISE, dataset_id=dataset_id))


def datasets_in_flight(company: Company, policy: Policy) -> Iterator[Dataset]:
    """Yield the records of the datasets that are in flight in `feeds_in_flight`."""
    for feed in feeds_in_flight(company, policy):
        if feed.in_flight:
            yield Dataset(
                company_id=feed.company_id,
                dataset_id=feed.in_flight.dataset_id,
                data_type=feed.data_type,
                connection_id=feed.connection_id,
                trigger=feed.in_flight.trigger,
                requested_at=feed.in_flight.at,
                state=DatasetState.QUEUED,
            )


def queued_response(request: httpx.Request) -> httpx.Response:
    """Return Codat's response to queueing a refresh of a data type: the new dataset."""
    _, _, company, _, _, data_type = request.url.path.split("/")
    dataset = {
        "id": str(uuid5(NAMESPACE_URL, f"{request.url.path}/{NOW}")),
        "companyId": company,
        "connectionId": request.url.params["connectionId"],
        "dataType": data_type,
        "status": "Initial",
        "requested": NOW.isoformat(),
    }
    return httpx.Response(200, json=dataset, headers={"Date": "Mon, 23 Nov 2026 12:00:00 GMT"})


def read_completed(company: Company, data_type: str, at: datetime) -> str:
    """Return the body of Codat's webhook for a successful read of a data type."""
    return reads_completed(company, [data_type], at)


def reads_completed(company: Company, data_types: Iterable[str], at: datetime) -> str:
    """Return the body of Codat's webhook for a successful read of data types."""
    [connection] = company.connections.values()
    reads = [
        {
            "connectionId": connection.connection_id,
            "dataType": data_type,
            "recordsModified": True,
            "status": "Complete",
        }
        for data_type in data_types
    ]
    event = {
        "id": str(uuid5(NAMESPACE_URL, f"{company.company_id}/{reads}/{at}")),
        "eventType": "read.completed",
        "generatedDate": at.isoformat(),
        "payload": {"referenceCompany": {"id": company.company_id, "name": company.name}, "dataTypes": reads},
    }
    return json.dumps(event)
