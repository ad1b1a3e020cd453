"""Feeds: a data type of a connection, with its true state and its syncs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from codat_sandbox.model import Company, Connection, ConnectionStatus, Dataset, DatasetStatus, DataStatus, Truth
from codat_sandbox.platforms import is_custom
from codat_sandbox.settings import Settings
from codat_sandbox.syncs import TEMPORARY_ERRORS, Sync


@dataclass(slots=True)
class Feed:
    """A data type of a connection. `attempts` counts the syncs since the sandbox started.

    `has_changed` says that the next successful sync surely finds changed records. `listed_unsynced` says that
    `dataStatus` has null for it before its first sync, and not nothing. (Codat's guide also shows a data type with only
    its name. Codat's API description requires a status, and so do the clients that are made from it.)
    """

    company_id: str
    connection_id: str
    data_type: str
    changes_per_day: float
    is_supported: bool = True
    is_permitted: bool = True
    listed_unsynced: bool = False
    latest: Sync | None = None
    latest_successful: Sync | None = None
    attempts: int = 0
    has_changed: bool = False
    scheduled_at: datetime | None = None

    @property
    def latest_dataset(self) -> Dataset | None:
        return self.latest.dataset if self.latest else None

    @property
    def latest_successful_dataset(self) -> Dataset | None:
        return self.latest_successful.dataset if self.latest_successful else None

    @property
    def running(self) -> Sync | None:
        return self.latest if self.latest is not None and self.latest.is_running else None

    def obstacle(self, connection: Connection) -> str | None:
        """Return why no refresh can succeed now, or None if one can."""
        if connection.status is not ConnectionStatus.LINKED:
            return f"the connection is {connection.status}"
        if not self.is_supported:
            return "the data type is not supported"
        if not self.is_permitted:
            return "the user who linked the connection may not read this data type"
        if connection.platform.on_premise and not connection.machine_online:
            return "the machine is offline"
        if not connection.platform_works:
            return "the platform answers with errors"
        if connection.refuses_reads:
            return "the platform refuses reads"
        return None

    def draw_end(self, connection: Connection, settings: Settings, random: Random) -> DatasetStatus:
        """Return the status in which a sync that starts now ends, unless the connection changes before."""
        if connection.status is not ConnectionStatus.LINKED or connection.refuses_reads:
            return DatasetStatus.AUTH_ERROR
        if not self.is_supported:
            return DatasetStatus.NOT_SUPPORTED
        if not self.is_permitted:
            return DatasetStatus.PERMISSIONS_ERROR
        if not connection.platform_works:
            return DatasetStatus.FETCH_ERROR
        temporary = settings.fails_first if self.attempts == 1 else settings.fails_later
        if random.random() < temporary:
            return random.choice(TEMPORARY_ERRORS)
        if random.random() < settings.rate_limit_error:
            return DatasetStatus.RATE_LIMIT_ERROR
        if random.random() < settings.authorization_lapses:
            return DatasetStatus.AUTH_ERROR
        return DatasetStatus.COMPLETE

    def records_modified(self, sync: Sync) -> bool:
        """Return whether a successful read found changed records. Records change as a Poisson process.

        Like Codat, return False for the first read after linking.
        """
        before = self.latest_successful
        if before is None or before.fetched is None or sync.fetched is None:
            return False
        if self.has_changed:
            return True
        days = (sync.fetched - before.fetched) / timedelta(days=1)
        return sync.chance < -math.expm1(-self.changes_per_day * days)

    def truth(self, company: Company, connection: Connection) -> Truth:
        return Truth(
            company,
            connection,
            self.data_type,
            latest=self.latest_dataset,
            latest_successful=self.latest_successful_dataset,
            changes_per_day=self.changes_per_day,
            obstacle=self.obstacle(connection),
        )


def data_statuses(feeds: Sequence[Feed]) -> dict[str, DataStatus | None]:
    """Return the data statuses of a company's feeds, as `dataStatus` does: without custom data types."""
    by_type: dict[str, list[Feed]] = {}
    for feed in feeds:
        if not is_custom(feed.data_type):
            by_type.setdefault(feed.data_type, []).append(feed)
    return {
        data_type: _data_status(data_type, same_type)
        for data_type, same_type in by_type.items()
        if any(feed.latest for feed in same_type) or same_type[0].listed_unsynced
    }


def _data_status(data_type: str, feeds: Sequence[Feed]) -> DataStatus | None:
    latest = max((f.latest_dataset for f in feeds if f.latest_dataset), key=lambda d: d.requested, default=None)
    if latest is None:
        return None
    successful = max(
        (
            (f.latest_successful_dataset.completed, f.latest_successful_dataset.id)
            for f in feeds
            if f.latest_successful_dataset and f.latest_successful_dataset.completed
        ),
        default=(None, None),
    )
    return DataStatus(data_type, latest.status, successful[0], latest.id, successful[1])
