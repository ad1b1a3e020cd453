"""Runs syncs: starts them, moves each through its states, and applies what follows from its end."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random

from codat_sandbox import syncs
from codat_sandbox.companies import random_uuid
from codat_sandbox.events import EventLog
from codat_sandbox.feeds import Feed
from codat_sandbox.model import ConnectionStatus, Dataset, DatasetStatus, EventType, Read, RequestedBy
from codat_sandbox.platforms import FETCH_ON_FIRST_LINK, is_custom
from codat_sandbox.settings import Settings
from codat_sandbox.store import Store
from codat_sandbox.syncs import Sync
from codat_sandbox.timers import Timers

ONE_TIME_LASTS = timedelta(minutes=1)
"""How long a one-time connection stays linked after its first syncs."""
_LINK_ERRORS = {
    ConnectionStatus.PENDING_AUTH: "The customer cancelled linking.",
    ConnectionStatus.DEAUTHORIZED: "The platform refused the authorization.",
}


class SyncRunner:
    """The syncs of all companies. `settings` may be replaced at any time and apply to syncs that start later."""

    def __init__(self, settings: Settings, store: Store, timers: Timers, events: EventLog) -> None:
        self.settings = settings
        self._store = store
        self._timers = timers
        self._events = events
        self._running: Counter[str] = Counter()
        self._unreported: dict[str, list[Read]] = {}

    def start(
        self,
        feed: Feed,
        requested_by: RequestedBy,
        now: datetime,
        product: str = "",
        ends_in: DatasetStatus | None = None,
    ) -> Dataset:
        """Queue a sync of a feed that has none running, perhaps for a custom product, and return its dataset.

        With `ends_in`, the sync ends in that status, and leaves its connection as it is.
        """
        feed.attempts += 1
        random = Random(f"{self.settings.seed}/{feed.connection_id}/{feed.data_type}/{feed.attempts}")
        connection = self._store.connection(feed.company_id, feed.connection_id)
        dataset = Dataset(
            random_uuid(random),
            feed.company_id,
            feed.connection_id,
            feed.data_type,
            DatasetStatus.QUEUED,
            requested=now,
            requested_by=requested_by,
        )
        shortest, longest = self.settings.sync_time_min, self.settings.sync_time_max
        duration = shortest + (longest - shortest) * random.random()
        end = feed.draw_end(connection, self.settings, random)
        sync = syncs.plan(dataset, ends_in or end, duration, random)
        sync.end_is_forced = ends_in is not None
        sync.product = product
        sync.pause = self.settings.paused_for if random.random() < self.settings.paused else timedelta(0)
        feed.latest = sync
        self._store.add_sync(sync)
        self._running[feed.company_id] += 1
        self._step(feed, sync, now)
        return sync.dataset

    def start_first_link_types(
        self, company_id: str, connection_id: str, requested_by: RequestedBy, now: datetime
    ) -> None:
        """Queue each "fetch on first link" type of a connection that has no sync running.

        If the connection was just linked (`FIRST_LINK`), the data types of custom products are queued first.
        """
        if requested_by is RequestedBy.FIRST_LINK:
            for product in self._store.company(company_id).products:
                self.start_product(company_id, [connection_id], product, requested_by, now)
        for feed in self._store.feeds(company_id, connection_id):
            if feed.data_type in FETCH_ON_FIRST_LINK and feed.running is None:
                self.start(feed, requested_by, now)

    def start_product(
        self, company_id: str, connection_ids: Collection[str], product: str, requested_by: RequestedBy, now: datetime
    ) -> None:
        """Queue each data type of a custom product that has no sync running, on these connections."""
        for feed in self._store.feeds(company_id):
            is_of_product = feed.data_type in self.settings.custom_products.get(product, ())
            if is_of_product and feed.connection_id in connection_ids and feed.running is None:
                self.start(feed, requested_by, now, product)

    def change_status(self, company_id: str, connection_id: str, status: ConnectionStatus, now: datetime) -> None:
        """Set the status of a connection, and add the event that Codat sends for the change, if any."""
        before = self._store.connection(company_id, connection_id)
        connection = replace(before, status=status, error=_LINK_ERRORS.get(status))
        self._store.put_connection(company_id, connection)
        event_type = _event_of(before.status, status)
        if event_type is not None:
            self._events.add_connection_event(event_type, self._store.company(company_id), connection, now)

    def end_all(self, company_id: str, connection_id: str, status: DatasetStatus, now: datetime) -> None:
        """End every running sync of a connection in `status`."""
        for feed in self._store.feeds(company_id, connection_id):
            sync = feed.running
            if sync is not None:
                sync.end(status, now)
                self._ended(feed, sync, now)

    def resume(self, feed: Feed, now: datetime) -> None:
        """Continue the sync of a feed if it waits for its machine to be online."""
        sync = feed.running
        if sync is not None and sync.waits_for_machine:
            sync.waits_for_machine = False
            self._timers.call_at(now, partial(self._step, feed, sync))

    def schedule(self, feed: Feed, now: datetime) -> None:
        """Set when Codat's own schedule reads a feed next: some hours after its last sync, or never."""
        hours = self.settings.scheduled_hours(feed.data_type)
        if hours == 0 or feed.latest is None or feed.latest.completed is None:
            feed.scheduled_at = None
            return
        feed.scheduled_at = max(feed.latest.completed + timedelta(hours=hours), now)
        self._timers.call_at(feed.scheduled_at, partial(self._start_scheduled, feed))

    def drop_company(self, company_id: str) -> None:
        """Drop the running syncs and unreported reads of a company that was deleted from the store."""
        self._running.pop(company_id, None)
        self._unreported.pop(company_id, None)

    def _step(self, feed: Feed, sync: Sync, now: datetime) -> None:
        if not sync.is_running or feed.company_id not in self._store:
            return
        connection = self._store.connection(feed.company_id, feed.connection_id)
        needs_machine = connection.platform.on_premise and self._needs_machine(sync)
        if needs_machine and sync.status is DatasetStatus.FETCHING:
            sync.description = syncs.WAITING
        if needs_machine and not connection.machine_online:
            sync.waits_for_machine = True
            return
        opens_at = self.settings.machine_opens_at(now) if needs_machine else now
        if opens_at > now:
            self._timers.call_at(opens_at, partial(self._step, feed, sync))
            return
        stay = sync.enter_next(now)
        if sync.is_running:
            self._timers.call_at(now + stay, partial(self._step, feed, sync))
        else:
            self._ended(feed, sync, now)

    def _needs_machine(self, sync: Sync) -> bool:
        """Return whether the next step of a sync waits until its machine is online."""
        waiting = sync.status if self.settings.machine_waits_in == "Fetching" else sync.next_status
        return waiting is DatasetStatus.FETCHING

    def _ended(self, feed: Feed, sync: Sync, now: datetime) -> None:
        before = feed.latest_successful
        status = sync.status
        connection = self._store.connection(feed.company_id, feed.connection_id)
        read = Read(
            feed.connection_id,
            feed.data_type,
            status,
            records_modified=status is DatasetStatus.COMPLETE and feed.records_modified(sync),
            last_fetched=before.fetched if before else None,
            product=sync.product,
            dataset_id=sync.as_requested.id,
        )
        if status is DatasetStatus.COMPLETE:
            feed.latest_successful = sync
            feed.has_changed = False
            self._store.put_connection(feed.company_id, replace(connection, last_sync=now))
            if connection.one_time and not any(
                each.running for each in self._store.feeds(feed.company_id, feed.connection_id)
            ):
                self._timers.call_at(now + ONE_TIME_LASTS, partial(self._end_one_time, feed))
        elif (
            status is DatasetStatus.AUTH_ERROR
            and connection.status is ConnectionStatus.LINKED
            and not connection.refuses_reads
            and not sync.end_is_forced
        ):
            self.change_status(feed.company_id, feed.connection_id, ConnectionStatus.DEAUTHORIZED, now)
        self.schedule(feed, now)
        self._report(feed.company_id, read, now)

    def _end_one_time(self, feed: Feed, now: datetime) -> None:
        if feed.company_id in self._store:
            self.change_status(feed.company_id, feed.connection_id, ConnectionStatus.DEAUTHORIZED, now)

    def _start_scheduled(self, feed: Feed, now: datetime) -> None:
        is_superseded = feed.scheduled_at != now
        if is_superseded or feed.running is not None or feed.company_id not in self._store:
            return
        if feed.connection_id in self._store.company(feed.company_id).linked:
            self.start(feed, RequestedBy.SCHEDULE, now)

    def _report(self, company_id: str, read: Read, now: datetime) -> None:
        """Report a read once the company has no sync running, or `read_completed_within` after its first such read."""
        reads = self._unreported.setdefault(company_id, [])
        # Codat documents no event for the end of a custom data type.
        if not is_custom(read.data_type):
            reads.append(read)
        self._running[company_id] -= 1
        if self._running[company_id] == 0:
            self._report_all(company_id, now)
        elif len(reads) == 1 and reads[0] is read:
            self._timers.call_at(now + self.settings.read_completed_within, partial(self._report_all, company_id))

    def _report_all(self, company_id: str, now: datetime) -> None:
        reads = self._unreported.pop(company_id, [])
        if reads:
            self._events.add_reads(self._store.company(company_id), reads, now)


def _event_of(before: ConnectionStatus, after: ConnectionStatus) -> EventType | None:
    if after is ConnectionStatus.PENDING_AUTH:
        return EventType.CONNECTION_FAILED
    if before is after:
        return None
    if after is not ConnectionStatus.LINKED:
        return EventType.CONNECTION_DISCONNECTED
    is_first_link = before is ConnectionStatus.PENDING_AUTH
    return EventType.CONNECTION_CONNECTED if is_first_link else EventType.CONNECTION_RECONNECTED
