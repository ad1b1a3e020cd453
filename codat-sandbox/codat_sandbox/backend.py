"""An in-memory model of Codat, without I/O and without a clock.

Every method that depends on time takes `now`, which must not go back, and first runs what was due by then. The same
settings, calls and times give the same results. How a sync ends depends only on the seed, the feed and the number of
the attempt.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random

from codat_sandbox import companies, feeds
from codat_sandbox.companies import CompanyDetails, NewCompany
from codat_sandbox.connection_status import change_status
from codat_sandbox.errors import (
    BadRequestError,
    DatasetAlreadyInProgressError,
    NoLinkedConnectionError,
    NotSupportedByPlatformError,
    ProductError,
    ProductInProgressError,
    ProductNotFoundError,
)
from codat_sandbox.events import EventLog
from codat_sandbox.model import (
    Company,
    CompanyEventType,
    Connection,
    ConnectionEventType,
    ConnectionStatus,
    Dataset,
    DatasetStatus,
    DataStatus,
    Event,
    ProductEventType,
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
        self._store = Store()
        self._timers = Timers()
        self._events = EventLog(Random(f"{settings.seed}/events"))
        self._syncs = SyncRunner(settings, self._store, self._timers, self._events)
        for new in companies.fleet(settings, now):
            self._add(new, now)

    @property
    def settings(self) -> Settings:
        """Return the current settings."""
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

    def companies(self) -> Sequence[Company]:
        """Return all companies in the order in which they were added."""
        return self._store.companies()

    def company(self, company_id: str) -> Company:
        """Return one company.

        Raises:
            CompanyNotFoundError: there is no such company.
        """
        return self._store.company(company_id)

    def connection(self, company_id: str, connection_id: str) -> Connection:
        """Return one connection of a company.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
        """
        return self._store.connection(company_id, connection_id)

    def data_status(self, company_id: str, now: datetime) -> dict[str, DataStatus | None]:
        """Return the data status of each data type, over all connections of a company.

        If several connections have the data type, the sync requested last counts. A data type that was never synced is
        missing or None.

        Raises:
            CompanyNotFoundError: there is no such company.
        """
        self._timers.run_until(now)
        return feeds.data_statuses(self._store.feeds(company_id))

    def history(self, company_id: str, now: datetime) -> Sequence[Dataset]:
        """Return the datasets of a company in the order in which they were requested.

        Raises:
            CompanyNotFoundError: there is no such company.
        """
        self._timers.run_until(now)
        return [sync.dataset for sync in self._store.history(company_id)]

    def dataset(self, company_id: str, dataset_id: str, now: datetime) -> Dataset:
        """Return one dataset of a company.

        Raises:
            CompanyNotFoundError, DatasetNotFoundError: there is no such company or dataset.
        """
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
            CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
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
        """Queue each "fetch on first link" type that is not running on each linked connection.

        Raises:
            CompanyNotFoundError: there is no such company.
        """
        self._timers.run_until(now)
        for connection in self.company(company_id).connections:
            if connection.status is ConnectionStatus.LINKED:
                self._syncs.start_first_link_types(company_id, connection.id, requested_by, now)

    def refresh_product(self, company_id: str, product: str, data_types: Collection[str] | None, now: datetime) -> None:
        """Queue the data types of a custom product, or some of them, on each linked connection that has them.

        Raises:
            CompanyNotFoundError, ProductNotFoundError: there is no such company, or it does not have the product.
            ProductError: the product is a standard one, or does not have one of the data types.
            ProductInProgressError: a dataset of the product is running.
        """
        self._timers.run_until(now)
        company = self.company(company_id)
        if product not in company.products:
            raise ProductNotFoundError(product)
        of_product = self.settings.custom_products.get(product)
        if of_product is None or not set(data_types or ()) <= set(of_product):
            raise ProductError(product)
        linked = {each.id for each in company.connections if each.status is ConnectionStatus.LINKED}
        feeds = [
            feed
            for feed in self._store.feeds(company_id)
            if feed.data_type in of_product and feed.connection_id in linked
        ]
        if any(feed.running for feed in feeds):
            raise ProductInProgressError
        for feed in feeds:
            if data_types is None or feed.data_type in data_types:
                self._syncs.start(feed, RequestedBy.API, now, product)

    def add_product(self, company_id: str, product: str, now: datetime) -> None:
        """Add a product to a company. If it is a custom one, queue its data types.

        Raises:
            CompanyNotFoundError, ProductNotFoundError: there is no such company or product.
        """
        self._timers.run_until(now)
        if product not in (*self.settings.custom_products, *companies.STANDARD_PRODUCTS):
            raise ProductNotFoundError(product)
        known = self.company(company_id).products
        if product in known:
            return
        company = self._store.set_products(company_id, (*known, product))
        self._events.add_product_event(ProductEventType.ADDED, company, product, now)
        linked = {each.id for each in company.connections if each.status is ConnectionStatus.LINKED}
        self._syncs.start_product(company_id, linked, product, RequestedBy.FIRST_LINK, now)

    def remove_product(self, company_id: str, product: str, now: datetime) -> None:
        """Take a product from a company.

        Raises:
            CompanyNotFoundError, ProductNotFoundError: there is no such company, or it does not have the product.
        """
        self._timers.run_until(now)
        known = self.company(company_id).products
        if product not in known:
            raise ProductNotFoundError(product)
        company = self._store.set_products(company_id, tuple(each for each in known if each != product))
        self._events.add_product_event(ProductEventType.REMOVED, company, product, now)

    def add_company(self, platforms: Sequence[Platform], now: datetime) -> Company:
        """Add a company with linked connections, queue its "fetch on first link" types, and return it."""
        self._timers.run_until(now)
        new = companies.new_company(self._store.companies_added, platforms, self.settings, now)
        self._add(new, now)
        company = new.company
        self._events.add_company_event(CompanyEventType.CREATED, company, now)
        for connection in company.connections:
            created = replace(connection, status=ConnectionStatus.PENDING_AUTH)
            self._events.add_connection_event(ConnectionEventType.CREATED, company, created, now)
            self._events.add_connection_event(ConnectionEventType.CONNECTED, company, connection, now)
        self.queue_all(company.id, now, RequestedBy.FIRST_LINK)
        return company

    def create_company(self, details: CompanyDetails, now: datetime) -> Company:
        """Add a company without connections, and return it."""
        self._timers.run_until(now)
        new = companies.new_company(self._store.companies_added, (), self.settings, now)
        self._add(new, now)
        company = self._store.set_details(new.company.id, details.name, details.tags or {})
        self._events.add_company_event(CompanyEventType.CREATED, company, now)
        return company

    def update_company(self, company_id: str, details: CompanyDetails) -> Company:
        """Change those details of a company that are given, and return the company.

        Raises:
            CompanyNotFoundError: there is no such company.
        """
        return self._store.set_details(company_id, details.name, details.tags)

    def delete_company(self, company_id: str, now: datetime) -> None:
        """Delete a company with all its data; datasets that are running never end.

        Raises:
            CompanyNotFoundError: there is no such company.
        """
        self._timers.run_until(now)
        company = self._store.delete_company(company_id)
        self._syncs.drop_company(company_id)
        self._events.add_company_event(CompanyEventType.DELETED, company, now)

    def set_parent(self, company_id: str, parent_id: str | None) -> Company:
        """Make a company a subsidiary of another one, or of none, and return the company.

        Raises:
            BadRequestError: a company cannot be its own parent.
            CompanyNotFoundError: there is no such company.
        """
        if parent_id == company_id:
            raise BadRequestError("A company cannot be its own parent")
        self._store.set_parent(company_id, parent_id)
        return self.company(company_id)

    def add_connection(self, company_id: str, platform: Platform, now: datetime) -> Connection:
        """Add a connection that the customer has not linked yet (PendingAuth), and return it.

        Raises:
            CompanyNotFoundError: there is no such company.
        """
        self._timers.run_until(now)
        company = self.company(company_id)
        random = Random(f"{self.settings.seed}/{company_id}/connection/{len(company.connections)}/{now}")
        connection = replace(companies.new_connection(platform, now, random), status=ConnectionStatus.PENDING_AUTH)
        new_feeds = companies.new_feeds(company_id, connection, self.settings, random)
        self._store.add_connection(company_id, connection, new_feeds)
        self._events.add_connection_event(ConnectionEventType.CREATED, self.company(company_id), connection, now)
        return connection

    def delete_connection(self, company_id: str, connection_id: str, now: datetime) -> None:
        """Delete a connection, and cancel its running datasets.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
        """
        self._timers.run_until(now)
        connection = self.connection(company_id, connection_id)
        self._syncs.end_all(company_id, connection_id, DatasetStatus.CANCELLED, now)
        self._store.delete_connection(company_id, connection_id)
        self._events.add_connection_event(ConnectionEventType.DELETED, self.company(company_id), connection, now)

    def set_connection_status(
        self, company_id: str, connection_id: str, status: ConnectionStatus, now: datetime
    ) -> Connection:
        """Set the status of a connection, and return the connection. PendingAuth makes linking fail.

        Linking for the first time queues the "fetch on first link" types, and any linking grants missing permissions.
        Every other status ends running datasets in AuthError.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
        """
        self._timers.run_until(now)
        before = self.connection(company_id, connection_id).status
        change_status(self._store, self._events, company_id, connection_id, status, now)
        if status is not ConnectionStatus.LINKED:
            self._syncs.end_all(company_id, connection_id, DatasetStatus.AUTH_ERROR, now)
        else:
            for feed in self._store.feeds(company_id, connection_id):
                feed.is_permitted = True
                self._syncs.schedule(feed, now)
            if before is ConnectionStatus.PENDING_AUTH:
                self._syncs.start_first_link_types(company_id, connection_id, RequestedBy.FIRST_LINK, now)
        return self.connection(company_id, connection_id)

    def set_machine_online(self, company_id: str, connection_id: str, online: bool, now: datetime) -> Connection:
        """Set whether the machine of an on-premise connection is online, and return the connection.

        Datasets that were waiting for the machine continue once it is online.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
        """
        self._timers.run_until(now)
        connection = replace(self.connection(company_id, connection_id), machine_online=online)
        self._store.put_connection(company_id, connection)
        if online:
            for feed in self._store.feeds(company_id, connection_id):
                self._syncs.resume(feed, now)
        return connection

    def change_books(self, company_id: str, data_type: str | None) -> None:
        """Change records of one data type, or of all if it is None: the next successful read of each finds changes.

        Raises:
            CompanyNotFoundError: there is no such company.
        """
        for feed in self._store.feeds(company_id):
            if data_type in (None, feed.data_type):
                feed.has_changed = True

    def set_one_time(self, company_id: str, connection_id: str, now: datetime) -> Connection:
        """Make a connection one-time: it becomes Deauthorized after its first reads. Return the connection.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
        """
        self._timers.run_until(now)
        connection = replace(self.connection(company_id, connection_id), one_time=True)
        self._store.put_connection(company_id, connection)
        return connection

    def set_refuses_reads(self, company_id: str, connection_id: str, refuses: bool, now: datetime) -> Connection:
        """Set whether the platform refuses reads although the connection is Linked, and return the connection.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
        """
        self._timers.run_until(now)
        connection = replace(self.connection(company_id, connection_id), refuses_reads=refuses)
        self._store.put_connection(company_id, connection)
        return connection

    def set_platform_works(self, company_id: str, connection_id: str, works: bool, now: datetime) -> Connection:
        """Set whether the platform of a connection works, and return the connection. If it does not, new syncs fail.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is no such company or connection.
        """
        self._timers.run_until(now)
        connection = replace(self.connection(company_id, connection_id), platform_works=works)
        self._store.put_connection(company_id, connection)
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
