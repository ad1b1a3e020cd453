"""An in-memory model of Codat, without I/O and without a clock.

Every method that depends on time takes `now`, which must not go back, and first runs what was due by then. The same
settings, calls and times give the same results. How a sync ends depends only on the seed, the feed and the number of
the attempt. What takes an id raises `NotFoundError` if nothing has it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Unpack

from codat_sandbox import companies, feeds
from codat_sandbox.companies import CompanyDetails, NewCompany
from codat_sandbox.errors import (
    DatasetAlreadyInProgressError,
    NoLinkedConnectionError,
    NotFoundError,
    NotSupportedByPlatformError,
    ProductError,
    ProductInProgressError,
)
from codat_sandbox.events import EventLog
from codat_sandbox.model import (
    Company,
    Connection,
    ConnectionChanges,
    ConnectionStatus,
    Dataset,
    DatasetStatus,
    DataStatus,
    Event,
    EventType,
    RequestedBy,
    Truth,
)
from codat_sandbox.platforms import Platform
from codat_sandbox.settings import Settings
from codat_sandbox.store import Store
from codat_sandbox.sync_runner import SyncRunner
from codat_sandbox.timers import Timers

_READABLE = (ConnectionStatus.LINKED, ConnectionStatus.DEAUTHORIZED)
"""The statuses of a connection in which a sync is started; on a Deauthorized one it ends in AuthError."""


class CodatBackend:
    """Codat's companies, connections, datasets and events."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        """Create the companies that `settings` describe, as they are at `now`."""
        self._store = store = Store()
        self.companies, self.company, self.connection = store.companies, store.company, store.connection
        self._timers = Timers()
        self._events = EventLog(Random(f"{settings.seed}/events"))
        self._syncs = SyncRunner(settings, self._store, self._timers, self._events)
        for new in companies.fleet(settings, now):
            self._add(new, now)

    @property
    def settings(self) -> Settings:
        return self._syncs.settings

    @property
    def active_companies(self) -> int:
        """Return the number of companies that have a linked connection; the daily quota depends on it."""
        return self._store.active_companies

    @property
    def next_transition(self) -> datetime | None:
        """Return when something changes next without a call, or None if nothing will."""
        return self._timers.next_at

    def advance(self, now: datetime) -> list[Event]:
        """Run what is due by `now`, and return the events since the last call in order."""
        self._timers.run_until(now)
        return self._events.take()

    def data_status(self, company_id: str, now: datetime) -> dict[str, DataStatus | None]:
        """Return the data status of each data type, over all connections of a company.

        If several connections have the data type, the sync requested last counts. A data type that was never synced is
        missing or None.
        """
        self._timers.run_until(now)
        return feeds.data_statuses(self._store.feeds(company_id))

    def history(self, company_id: str, now: datetime) -> Sequence[Dataset]:
        """Return the datasets of a company in the order in which they were requested."""
        self._timers.run_until(now)
        return [sync.dataset for sync in self._store.history(company_id)]

    def dataset(self, company_id: str, dataset_id: str, now: datetime) -> Dataset:
        self._timers.run_until(now)
        return self._store.sync(company_id, dataset_id).dataset

    def truth(self, now: datetime) -> Iterator[Truth]:
        """Yield the ground truth about each feed."""
        self._timers.run_until(now)
        for company in self._store.companies():
            connections = {connection.id: connection for connection in company.connections}
            for feed in self._store.feeds(company.id):
                yield feed.truth(company, connections[feed.connection_id])

    def queue(
        self,
        company_id: str,
        data_type: str,
        now: datetime,
        connection_id: str | None = None,
        requested_by: RequestedBy = RequestedBy.API,
        ends_in: DatasetStatus | None = None,
    ) -> Dataset:
        """Queue a data type on each connection that has it, or on one connection, and return the first dataset.

        On a Deauthorized connection the dataset ends in AuthError. An Unlinked or PendingAuth connection is skipped.
        (Codat does not document either case.) With `ends_in`, the datasets end in that status, whatever happens.

        Raises:
            NotSupportedByPlatformError: no platform of the connections has the data type.
            NoLinkedConnectionError: no connection that has the data type is Linked or Deauthorized.
            DatasetAlreadyInProgressError: a dataset of one of these connections is running.
        """
        self._timers.run_until(now)
        connections = (
            self.company(company_id).connections
            if connection_id is None
            else (self.connection(company_id, connection_id),)
        )
        having = {feed.connection_id for feed in self._store.feeds(company_id) if feed.data_type == data_type}
        supporting = [c for c in connections if c.id in having]
        if not supporting:
            raise NotSupportedByPlatformError(data_type, [c.platform.name for c in connections])
        readable = [c.id for c in supporting if c.status in _READABLE]
        if not readable:
            raise NoLinkedConnectionError(company_id, data_type)
        requested = [
            feed
            for feed in self._store.feeds(company_id)
            if feed.data_type == data_type and feed.connection_id in readable
        ]
        for feed in requested:
            if feed.running is not None:
                raise DatasetAlreadyInProgressError(data_type, company_id, feed.running.as_requested.id)
        first, *_ = [self._syncs.start(feed, requested_by, now, ends_in=ends_in) for feed in requested]
        return first

    def queue_all(self, company_id: str, now: datetime, requested_by: RequestedBy = RequestedBy.API) -> None:
        """Queue each "fetch on first link" type that is not running on each linked connection."""
        self._timers.run_until(now)
        for connection_id in self.company(company_id).linked:
            self._syncs.start_first_link_types(company_id, connection_id, requested_by, now)

    def refresh_product(self, company_id: str, product: str, data_types: Collection[str] | None, now: datetime) -> None:
        """Queue the data types of a custom product, or some of them, on each linked connection that has them.

        Raises:
            ProductError: the product is a standard one, or does not have one of the data types.
            ProductInProgressError: a dataset of the product is running.
        """
        self._timers.run_until(now)
        company = self.company(company_id)
        if product not in company.products:
            raise NotFoundError("Product", product)
        of_product = self.settings.custom_products.get(product)
        if of_product is None or not set(data_types or ()) <= set(of_product):
            raise ProductError(product)
        feeds = [
            feed
            for feed in self._store.feeds(company_id)
            if feed.data_type in of_product and feed.connection_id in company.linked
        ]
        if any(feed.running for feed in feeds):
            raise ProductInProgressError
        for feed in feeds:
            if data_types is None or feed.data_type in data_types:
                self._syncs.start(feed, RequestedBy.API, now, product)

    def add_product(self, company_id: str, product: str, now: datetime) -> None:
        """Add a product to a company. If it is a custom one, queue its data types."""
        self._timers.run_until(now)
        if product not in (*self.settings.custom_products, *companies.STANDARD_PRODUCTS):
            raise NotFoundError("Product", product)
        known = self.company(company_id).products
        if product in known:
            return
        company = self._store.put(replace(self.company(company_id), products=(*known, product)))
        self._events.add_product_event(EventType.PRODUCT_ADDED, company, product, now)
        self._syncs.start_product(company_id, company.linked, product, RequestedBy.FIRST_LINK, now)

    def remove_product(self, company_id: str, product: str, now: datetime) -> None:
        """Take a product from a company."""
        self._timers.run_until(now)
        known = self.company(company_id).products
        if product not in known:
            raise NotFoundError("Product", product)
        left = tuple(each for each in known if each != product)
        company = self._store.put(replace(self.company(company_id), products=left))
        self._events.add_product_event(EventType.PRODUCT_REMOVED, company, product, now)

    def add_company(self, platforms: Sequence[Platform], now: datetime) -> Company:
        """Add a company with linked connections, queue its "fetch on first link" types, and return it."""
        self._timers.run_until(now)
        new = companies.new_company(self._store.companies_added, platforms, self.settings, now)
        self._add(new, now)
        company = new.company
        self._events.add_company_event(EventType.COMPANY_CREATED, company, now)
        for connection in company.connections:
            created = replace(connection, status=ConnectionStatus.PENDING_AUTH)
            self._events.add_connection_event(EventType.CONNECTION_CREATED, company, created, now)
            self._events.add_connection_event(EventType.CONNECTION_CONNECTED, company, connection, now)
        self.queue_all(company.id, now, RequestedBy.FIRST_LINK)
        return company

    def create_company(self, details: CompanyDetails, now: datetime) -> Company:
        """Add a company without connections, and return it."""
        self._timers.run_until(now)
        new = companies.new_company(self._store.companies_added, (), self.settings, now)
        self._add(new, now)
        company = self._store.put(replace(new.company, name=details.name or new.company.name, tags=details.tags or {}))
        self._events.add_company_event(EventType.COMPANY_CREATED, company, now)
        return company

    def update_company(self, company_id: str, details: CompanyDetails) -> Company:
        """Change those details of a company that are given, and return the company."""
        company = self.company(company_id)
        tags = company.tags if details.tags is None else details.tags
        return self._store.put(replace(company, name=details.name or company.name, tags=tags))

    def delete_company(self, company_id: str, now: datetime) -> None:
        """Delete a company with all its data; datasets that are running never end."""
        self._timers.run_until(now)
        company = self._store.delete_company(company_id)
        self._syncs.drop_company(company_id)
        self._events.add_company_event(EventType.COMPANY_DELETED, company, now)

    def add_connection(self, company_id: str, platform: Platform, now: datetime) -> Connection:
        """Add a connection that the customer has not linked yet (PendingAuth), and return it."""
        self._timers.run_until(now)
        company = self.company(company_id)
        random = Random(f"{self.settings.seed}/{company_id}/connection/{len(company.connections)}/{now}")
        connection = replace(companies.new_connection(platform, now, random), status=ConnectionStatus.PENDING_AUTH)
        new_feeds = companies.new_feeds(company_id, connection, self.settings, random)
        self._store.add_connection(company_id, connection, new_feeds)
        self._events.add_connection_event(EventType.CONNECTION_CREATED, self.company(company_id), connection, now)
        return connection

    def delete_connection(self, company_id: str, connection_id: str, now: datetime) -> None:
        """Delete a connection, and cancel its running datasets."""
        self._timers.run_until(now)
        connection = self.connection(company_id, connection_id)
        self._syncs.end_all(company_id, connection_id, DatasetStatus.CANCELLED, now)
        self._store.delete_connection(company_id, connection_id)
        self._events.add_connection_event(EventType.CONNECTION_DELETED, self.company(company_id), connection, now)

    def set_connection_status(
        self, company_id: str, connection_id: str, status: ConnectionStatus, now: datetime
    ) -> Connection:
        """Set the status of a connection, and return the connection. PendingAuth makes linking fail.

        Linking for the first time queues the "fetch on first link" types, and any linking grants missing permissions.
        Every other status ends running datasets in AuthError.
        """
        self._timers.run_until(now)
        before = self.connection(company_id, connection_id).status
        self._syncs.change_status(company_id, connection_id, status, now)
        if status is not ConnectionStatus.LINKED:
            self._syncs.end_all(company_id, connection_id, DatasetStatus.AUTH_ERROR, now)
        else:
            for feed in self._store.feeds(company_id, connection_id):
                feed.is_permitted = True
                self._syncs.schedule(feed, now)
            if before is ConnectionStatus.PENDING_AUTH:
                self._syncs.start_first_link_types(company_id, connection_id, RequestedBy.FIRST_LINK, now)
        return self.connection(company_id, connection_id)

    def change_books(self, company_id: str, data_type: str | None) -> None:
        """Change records of one data type, or of all if it is None: the next successful read of each finds changes."""
        for feed in self._store.feeds(company_id):
            if data_type in (None, feed.data_type):
                feed.has_changed = True

    def change_connection(
        self, company_id: str, connection_id: str, now: datetime, **changes: Unpack[ConnectionChanges]
    ) -> Connection:
        """Change what becomes of the reads of a connection, and return the connection.

        Datasets that were waiting for the machine continue once it is online.
        """
        self._timers.run_until(now)
        connection = replace(self.connection(company_id, connection_id), **changes)
        self._store.put_connection(company_id, connection)
        if connection.machine_online:
            for feed in self._store.feeds(company_id, connection_id):
                self._syncs.resume(feed, now)
        return connection

    def change_settings(self, settings: Settings, now: datetime) -> None:
        """Replace the settings from `now` on."""
        self._timers.run_until(now)
        is_rescheduled = settings.sync_schedule != self.settings.sync_schedule
        self._syncs.settings = settings
        if is_rescheduled:
            for feed in self._store.all_feeds():
                self._syncs.schedule(feed, now)

    def _add(self, new: NewCompany, now: datetime) -> None:
        self._store.add_company(new)
        for feed in new.feeds:
            self._syncs.schedule(feed, now)
