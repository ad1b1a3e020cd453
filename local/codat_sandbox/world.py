"""A model of Codat with no I/O and no clock: what it holds, what it does when asked, and what happens as time passes.

Time comes in as `now`, which must not go back. Every method first lets happen what was due by then. The same settings,
calls and times give the same world. How a sync ends depends only on the seed, the feed and the number of the attempt.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random

from local.codat_sandbox import companies, syncs
from local.codat_sandbox.companies import NewCompany, identifier
from local.codat_sandbox.errors import (
    CompanyNotFoundError,
    ConnectionNotFoundError,
    DatasetAlreadyInProgressError,
    DatasetNotFoundError,
    NoLinkedConnectionError,
    NotSupportedByPlatformError,
)
from local.codat_sandbox.feeds import Feed, NeverSynced
from local.codat_sandbox.model import (
    Company,
    CompanyEvent,
    CompanyEventType,
    Connection,
    ConnectionEvent,
    ConnectionEventType,
    ConnectionStatus,
    Dataset,
    DatasetStatus,
    DataStatus,
    Event,
    Read,
    ReadCompleted,
    RequestedBy,
    SyncSetting,
    Truth,
)
from local.codat_sandbox.platforms import FETCH_ON_FIRST_LINK, DataType, Platform
from local.codat_sandbox.settings import Settings
from local.codat_sandbox.syncs import Sync

_READABLE = (ConnectionStatus.LINKED, ConnectionStatus.DEAUTHORIZED)
"""The states of a connection in which a read is attempted; one that is Deauthorized ends in AuthError."""


class World:
    """Codat, as `settings` make it, from the moment `now` on."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        self.settings = settings
        self._companies: dict[str, Company] = {}
        self._feeds: dict[str, list[Feed]] = {}
        self._history: dict[str, list[Sync]] = {}
        self._datasets: dict[str, Sync] = {}
        self._unreported: dict[str, list[Read]] = {}
        self._running: dict[str, int] = {}
        self._active_companies = 0
        self._companies_ever = 0
        self._events: list[Event] = []
        self._agenda: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._agenda_entries = 0
        self._random = Random(f"{settings.seed}/events")
        for new in companies.fleet(settings, now):
            self._take_in(new, now)

    # Time

    def advance(self, now: datetime) -> list[Event]:
        """Let happen what is due by `now`; the events since the last call, in order."""
        self._run_until(now)
        events, self._events = self._events, []
        return events

    @property
    def next_transition(self) -> datetime | None:
        """When something will happen of itself, if ever."""
        return self._agenda[0][0] if self._agenda else None

    def _run_until(self, now: datetime) -> None:
        while self._agenda and self._agenda[0][0] <= now:
            at, _, happen = heapq.heappop(self._agenda)
            happen(at)

    def _at(self, when: datetime, happen: Callable[[datetime], None]) -> None:
        self._agenda_entries += 1
        heapq.heappush(self._agenda, (when, self._agenda_entries, happen))

    # What Codat's API tells

    def companies(self) -> Sequence[Company]:
        """All companies, the oldest member first."""
        return list(self._companies.values())

    def company(self, company_id: str) -> Company:
        """One company.

        Raises:
            CompanyNotFoundError: there is none of that id.
        """
        try:
            return self._companies[company_id]
        except KeyError:
            raise CompanyNotFoundError(company_id) from None

    def connection(self, company_id: str, connection_id: str) -> Connection:
        """One connection of a company.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is none of that id.
        """
        for connection in self.company(company_id).connections:
            if connection.id == connection_id:
                return connection
        raise ConnectionNotFoundError(connection_id)

    def data_status(self, company_id: str, now: datetime) -> dict[DataType, DataStatus | None]:
        """The status of each data type over all connections; of several, the sync requested last is told.

        A data type never synced is absent, None, or has no `current_status`.

        Raises:
            CompanyNotFoundError: there is none of that id.
        """
        self._run_until(now)
        self.company(company_id)
        by_type: dict[DataType, list[Feed]] = {}
        for feed in self._feeds[company_id]:
            by_type.setdefault(feed.data_type, []).append(feed)
        return {
            data_type: _data_status(data_type, feeds)
            for data_type, feeds in by_type.items()
            if any(feed.latest for feed in feeds) or feeds[0].never_synced is not NeverSynced.ABSENT
        }

    def history(self, company_id: str, now: datetime) -> Sequence[Dataset]:
        """The datasets of a company, in the order in which they were requested.

        Raises:
            CompanyNotFoundError: there is none of that id.
        """
        self._run_until(now)
        self.company(company_id)
        return [sync.dataset for sync in self._history[company_id]]

    def dataset(self, company_id: str, dataset_id: str, now: datetime) -> Dataset:
        """One dataset of a company.

        Raises:
            CompanyNotFoundError, DatasetNotFoundError: there is none of that id.
        """
        self._run_until(now)
        self.company(company_id)
        sync = self._datasets.get(dataset_id)
        if sync is None or sync.as_requested.company_id != company_id:
            raise DatasetNotFoundError(dataset_id)
        return sync.dataset

    def sync_settings(self) -> Sequence[SyncSetting]:
        """Codat's own schedule, the same for all companies."""
        return [
            SyncSetting(
                data_type,
                fetch_on_first_link=data_type in FETCH_ON_FIRST_LINK,
                sync_schedule=self.settings.sync_schedule.get(data_type, 0),
                sync_order=order,
            )
            for order, data_type in enumerate(DataType)
        ]

    @property
    def active_companies(self) -> int:
        """How many companies have a connection that is linked: they make the daily quota."""
        return self._active_companies

    # What one may ask of Codat's API

    def queue(
        self,
        company_id: str,
        data_type: DataType,
        now: datetime,
        connection_id: str | None = None,
        requested_by: RequestedBy = RequestedBy.API,
    ) -> Dataset:
        """Queue a dataset on each connection that has the data type, or on one of them; the first dataset queued.

        A connection that is Deauthorized is tried, and ends in AuthError. One that is Unlinked, or was never linked,
        is passed over. (What Codat does with these is not documented.)

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is none of that id.
            NotSupportedByPlatformError: no platform of the connections has the data type.
            NoLinkedConnectionError: some have, but none of them is linked or Deauthorized.
            DatasetAlreadyInProgressError: a dataset of one of these connections still runs.
        """
        self._run_until(now)
        connections = (
            self.company(company_id).connections
            if connection_id is None
            else (self.connection(company_id, connection_id),)
        )
        supporting = [c for c in connections if data_type in c.platform.data_types]
        if not supporting:
            raise NotSupportedByPlatformError(data_type, [c.platform.name for c in connections])
        readable = [c.id for c in supporting if c.status in _READABLE]
        if not readable:
            raise NoLinkedConnectionError(company_id, data_type)
        feeds = [f for f in self._feeds[company_id] if f.data_type is data_type and f.connection_id in readable]
        for feed in feeds:
            if feed.running is not None:
                raise DatasetAlreadyInProgressError(data_type, company_id, feed.running.as_requested.id)
        first, *_ = [self._start(feed, requested_by, now) for feed in feeds]
        return first

    def queue_all(self, company_id: str, now: datetime, requested_by: RequestedBy = RequestedBy.API) -> None:
        """Queue each data type marked "fetch on first link" on each linked connection, where none runs.

        Raises:
            CompanyNotFoundError: there is none of that id.
        """
        self._run_until(now)
        for connection in self.company(company_id).connections:
            if connection.status is ConnectionStatus.LINKED:
                self._fetch(company_id, connection.id, requested_by, now)

    # What others do: the customer, the platform, the portal

    def add_company(self, platforms: Sequence[Platform], now: datetime) -> Company:
        """A new company, its connections just linked: Codat reads its "fetch on first link" types at once."""
        self._run_until(now)
        new = companies.new_company(self._companies_ever, platforms, self.settings, now)
        self._take_in(new, now)
        company = new.company
        self._tell_of_company(CompanyEventType.CREATED, company, now)
        for connection in company.connections:
            created = replace(connection, status=ConnectionStatus.PENDING_AUTH)
            self._tell_of_connection(ConnectionEventType.CREATED, company, created, now)
            self._tell_of_connection(ConnectionEventType.CONNECTED, company, connection, now)
        self.queue_all(company.id, now, RequestedBy.FIRST_LINK)
        return company

    def delete_company(self, company_id: str, now: datetime) -> None:
        """Forget a company and all its data; what runs is not heard of again.

        Raises:
            CompanyNotFoundError: there is none of that id.
        """
        self._run_until(now)
        company = self.company(company_id)
        self._active_companies -= company.is_active
        del self._companies[company_id], self._feeds[company_id], self._running[company_id]
        for sync in self._history.pop(company_id):
            del self._datasets[sync.as_requested.id]
        self._unreported.pop(company_id, None)
        self._tell_of_company(CompanyEventType.DELETED, company, now)

    def add_connection(self, company_id: str, platform: Platform, now: datetime) -> Connection:
        """A new connection that the customer has yet to link.

        Raises:
            CompanyNotFoundError: there is none of that id.
        """
        self._run_until(now)
        company = self.company(company_id)
        random = Random(f"{self.settings.seed}/{company_id}/connection/{len(company.connections)}/{now}")
        connection = replace(companies.new_connection(platform, now, random), status=ConnectionStatus.PENDING_AUTH)
        company = replace(company, connections=(*company.connections, connection))
        self._companies[company_id] = company
        self._feeds[company_id] += companies.new_feeds(company_id, connection, self.settings, random)
        self._tell_of_connection(ConnectionEventType.CREATED, company, connection, now)
        return connection

    def delete_connection(self, company_id: str, connection_id: str, now: datetime) -> None:
        """Forget a connection; what runs is cancelled.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is none of that id.
        """
        self._run_until(now)
        connection = self.connection(company_id, connection_id)
        self._end_all(company_id, connection_id, DatasetStatus.CANCELLED, now)
        company = self._companies[company_id]
        others = tuple(c for c in company.connections if c.id != connection_id)
        self._put(replace(company, connections=others))
        self._feeds[company_id] = [f for f in self._feeds[company_id] if f.connection_id != connection_id]
        self._tell_of_connection(ConnectionEventType.DELETED, self._companies[company_id], connection, now)

    def set_connection_status(
        self, company_id: str, connection_id: str, status: ConnectionStatus, now: datetime
    ) -> Connection:
        """Link, unlink or deauthorize a connection, or (PendingAuth) let linking fail.

        Linking for the first time reads its "fetch on first link" types, and any linking mends missing permissions.
        Losing the link ends what runs in AuthError.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is none of that id.
        """
        self._run_until(now)
        before = self.connection(company_id, connection_id).status
        if status is not ConnectionStatus.LINKED:
            self._end_all(company_id, connection_id, DatasetStatus.AUTH_ERROR, now)
        self._change_status(company_id, connection_id, status, now)
        if status is ConnectionStatus.LINKED:
            for feed in self._feeds_of(company_id, connection_id):
                feed.is_permitted = True
                self._schedule(feed, now)
            if before is ConnectionStatus.PENDING_AUTH:
                self._fetch(company_id, connection_id, RequestedBy.FIRST_LINK, now)
        return self.connection(company_id, connection_id)

    def set_machine_online(self, company_id: str, connection_id: str, online: bool, now: datetime) -> Connection:
        """Start or stop the machine of an on-premise connection; what waits for it goes on.

        Raises:
            CompanyNotFoundError, ConnectionNotFoundError: there is none of that id.
        """
        self._run_until(now)
        connection = replace(self.connection(company_id, connection_id), machine_online=online)
        self._put_connection(company_id, connection)
        for feed in self._feeds_of(company_id, connection_id):
            if online and feed.running is not None and feed.running.waits_for_machine:
                feed.running.waits_for_machine = False
                self._at(now, partial(self._step, feed, feed.running))
        return connection

    def change_settings(self, settings: Settings, now: datetime) -> None:
        """Go on with other settings."""
        self._run_until(now)
        rescheduled = settings.sync_schedule != self.settings.sync_schedule
        self.settings = settings
        if rescheduled:
            for feeds in self._feeds.values():
                for feed in feeds:
                    self._schedule(feed, now)

    def truth(self, now: datetime) -> Iterator[Truth]:
        """What is so, of each data type of each connection."""
        self._run_until(now)
        for company in self._companies.values():
            connections = {connection.id: connection for connection in company.connections}
            for feed in self._feeds[company.id]:
                connection = connections[feed.connection_id]
                yield Truth(
                    company,
                    connection,
                    feed.data_type,
                    latest=feed.latest_dataset,
                    latest_successful=feed.latest_successful_dataset,
                    changes_per_day=feed.changes_per_day,
                    obstacle=feed.obstacle(connection),
                )

    # The life of a dataset

    def _fetch(self, company_id: str, connection_id: str, requested_by: RequestedBy, now: datetime) -> None:
        for feed in self._feeds_of(company_id, connection_id):
            if feed.data_type in FETCH_ON_FIRST_LINK and feed.running is None:
                self._start(feed, requested_by, now)

    def _start(self, feed: Feed, requested_by: RequestedBy, now: datetime) -> Dataset:
        feed.attempts += 1
        random = Random(f"{self.settings.seed}/{feed.connection_id}/{feed.data_type}/{feed.attempts}")
        connection = self.connection(feed.company_id, feed.connection_id)
        dataset = Dataset(
            identifier(random),
            feed.company_id,
            feed.connection_id,
            feed.data_type,
            DatasetStatus.QUEUED,
            requested=now,
            requested_by=requested_by,
        )
        shortest, longest = self.settings.sync_time_min, self.settings.sync_time_max
        duration = shortest + (longest - shortest) * random.random()
        sync = syncs.plan(dataset, feed.draw_end(connection, self.settings, random), duration, random)
        feed.latest = sync
        self._datasets[dataset.id] = sync
        self._history[feed.company_id].append(sync)
        self._running[feed.company_id] += 1
        self._step(feed, sync, now)
        return sync.dataset

    def _step(self, feed: Feed, sync: Sync, now: datetime) -> None:
        if not sync.is_running or feed.company_id not in self._companies:
            return
        if sync.next_status is DatasetStatus.FETCHING and self._is_offline(feed):
            sync.waits_for_machine = True
            return
        stay = sync.enter_next(now)
        if sync.is_running:
            self._at(now + stay, partial(self._step, feed, sync))
        else:
            self._ended(feed, sync, now)

    def _is_offline(self, feed: Feed) -> bool:
        connection = self.connection(feed.company_id, feed.connection_id)
        return connection.platform.on_premise and not connection.machine_online

    def _ended(self, feed: Feed, sync: Sync, now: datetime) -> None:
        before = feed.latest_successful
        status = sync.status
        connection = self.connection(feed.company_id, feed.connection_id)
        read = Read(
            feed.connection_id,
            feed.data_type,
            status,
            records_modified=status is DatasetStatus.COMPLETE and feed.records_modified(sync),
            last_fetched=before.fetched if before else None,
        )
        if status is DatasetStatus.COMPLETE:
            feed.latest_successful = sync
            self._put_connection(feed.company_id, replace(connection, last_sync=now))
        elif status is DatasetStatus.AUTH_ERROR and connection.status is ConnectionStatus.LINKED:
            self._change_status(feed.company_id, feed.connection_id, ConnectionStatus.DEAUTHORIZED, now)
        self._schedule(feed, now)
        self._report(feed.company_id, read, now)

    def _end_all(self, company_id: str, connection_id: str, status: DatasetStatus, now: datetime) -> None:
        for feed in self._feeds_of(company_id, connection_id):
            sync = feed.running
            if sync is not None:
                sync.end(status, now)
                self._ended(feed, sync, now)

    # Codat's own schedule

    def _schedule(self, feed: Feed, now: datetime) -> None:
        """Plan the next read by Codat itself, which counts from the last sync."""
        hours = self.settings.sync_schedule.get(feed.data_type, 0)
        if hours == 0 or feed.latest is None or feed.latest.completed is None:
            feed.scheduled_at = None
            return
        feed.scheduled_at = max(feed.latest.completed + timedelta(hours=hours), now)
        self._at(feed.scheduled_at, partial(self._read_on_schedule, feed))

    def _read_on_schedule(self, feed: Feed, now: datetime) -> None:
        company = self._companies.get(feed.company_id)
        if feed.scheduled_at != now or feed.running is not None or company is None:
            return
        linked = {c.id for c in company.connections if c.status is ConnectionStatus.LINKED}
        if feed.connection_id in linked:
            self._start(feed, RequestedBy.SCHEDULE, now)

    # Events

    def _report(self, company_id: str, read: Read, now: datetime) -> None:
        """Tell of a read that ended, together with others of the company that end soon after."""
        reads = self._unreported.setdefault(company_id, [])
        reads.append(read)
        self._running[company_id] -= 1
        if self._running[company_id] == 0:
            self._tell_of_reads(company_id, now)
        elif len(reads) == 1:
            self._at(now + self.settings.read_completed_within, partial(self._tell_of_reads, company_id))

    def _tell_of_reads(self, company_id: str, now: datetime) -> None:
        reads = self._unreported.pop(company_id, [])
        first = tuple(read for read in reads if read.last_fetched is None)
        others = tuple(read for read in reads if read.last_fetched is not None)
        for group, initial in ((first, True), (others, False)):
            if group:
                event_id = identifier(self._random)
                self._events.append(ReadCompleted(event_id, now, self.company(company_id), group, initial))

    def _tell_of_company(self, event_type: CompanyEventType, company: Company, now: datetime) -> None:
        self._events.append(CompanyEvent(identifier(self._random), now, company, event_type))

    def _tell_of_connection(
        self, event_type: ConnectionEventType, company: Company, connection: Connection, now: datetime
    ) -> None:
        self._events.append(ConnectionEvent(identifier(self._random), now, company, connection, event_type))

    # What it holds

    def _take_in(self, new: NewCompany, now: datetime) -> None:
        company = new.company
        self._companies_ever += 1
        self._companies[company.id] = company
        self._active_companies += company.is_active
        self._feeds[company.id] = list(new.feeds)
        self._history[company.id] = list(new.past)
        self._datasets.update((sync.as_requested.id, sync) for sync in new.past)
        self._running[company.id] = 0
        for feed in new.feeds:
            self._schedule(feed, now)

    def _feeds_of(self, company_id: str, connection_id: str) -> Sequence[Feed]:
        return [feed for feed in self._feeds[company_id] if feed.connection_id == connection_id]

    def _change_status(self, company_id: str, connection_id: str, status: ConnectionStatus, now: datetime) -> None:
        before = self.connection(company_id, connection_id)
        connection = replace(before, status=status, error=_link_error(status))
        self._put_connection(company_id, connection)
        event_type = _link_event(before.status, status)
        if event_type is not None:
            self._tell_of_connection(event_type, self._companies[company_id], connection, now)

    def _put_connection(self, company_id: str, connection: Connection) -> None:
        company = self._companies[company_id]
        connections = tuple(connection if c.id == connection.id else c for c in company.connections)
        self._put(replace(company, connections=connections))

    def _put(self, company: Company) -> None:
        self._active_companies += company.is_active - self._companies[company.id].is_active
        self._companies[company.id] = company


def _data_status(data_type: DataType, feeds: Sequence[Feed]) -> DataStatus | None:
    latest = max((f.latest_dataset for f in feeds if f.latest_dataset), key=lambda d: d.requested, default=None)
    if latest is None:
        return None if feeds[0].never_synced is NeverSynced.NULL else DataStatus(data_type)
    successful = max(
        (
            (f.latest_successful_dataset.completed, f.latest_successful_dataset.id)
            for f in feeds
            if f.latest_successful_dataset and f.latest_successful_dataset.completed
        ),
        default=(None, None),
    )
    return DataStatus(data_type, latest.status, successful[0], latest.id, successful[1])


def _link_event(before: ConnectionStatus, after: ConnectionStatus) -> ConnectionEventType | None:
    if after is ConnectionStatus.PENDING_AUTH:
        return ConnectionEventType.FAILED
    if before is after:
        return None
    if after is not ConnectionStatus.LINKED:
        return ConnectionEventType.DISCONNECTED
    first = before is ConnectionStatus.PENDING_AUTH
    return ConnectionEventType.CONNECTED if first else ConnectionEventType.RECONNECTED


def _link_error(status: ConnectionStatus) -> str | None:
    if status is ConnectionStatus.PENDING_AUTH:
        return "The customer cancelled linking."
    if status is ConnectionStatus.DEAUTHORIZED:
        return "The platform refused the authorization."
    return None
