"""A feed: one data type of one connection, what is true of it and what has been read from it."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from random import Random

from local.codat_sandbox.model import Connection, ConnectionStatus, Dataset, DatasetStatus
from local.codat_sandbox.platforms import DataType
from local.codat_sandbox.settings import Settings
from local.codat_sandbox.syncs import TEMPORARY_ERRORS, Sync


class NeverSynced(Enum):
    """How `dataStatus` shows a data type that was never synced: Codat has all three."""

    ABSENT = auto()
    NULL = auto()
    ONLY_DATA_TYPE = auto()


@dataclass(slots=True)
class Feed:
    """One data type of one connection. `attempts` counts the syncs since the sandbox started."""

    company_id: str
    connection_id: str
    data_type: DataType
    changes_per_day: float
    is_supported: bool = True
    is_permitted: bool = True
    never_synced: NeverSynced = NeverSynced.ABSENT
    latest: Sync | None = None
    latest_successful: Sync | None = None
    attempts: int = 0
    scheduled_at: datetime | None = None

    @property
    def latest_dataset(self) -> Dataset | None:
        """The dataset requested last."""
        return self.latest.dataset if self.latest else None

    @property
    def latest_successful_dataset(self) -> Dataset | None:
        """The last dataset that completed well."""
        return self.latest_successful.dataset if self.latest_successful else None

    @property
    def running(self) -> Sync | None:
        """The sync that has not ended."""
        return self.latest if self.latest is not None and self.latest.is_running else None

    def obstacle(self, connection: Connection) -> str | None:
        """Why no refresh can succeed now, or None."""
        if connection.status is not ConnectionStatus.LINKED:
            return f"the connection is {connection.status}"
        if not self.is_supported:
            return "the data type is not supported"
        if not self.is_permitted:
            return "the user who linked the connection may not read this data type"
        if connection.platform.on_premise and not connection.machine_online:
            return "the machine is offline"
        return None

    def draw_end(self, connection: Connection, settings: Settings, random: Random) -> DatasetStatus:
        """The state in which a sync that starts now will end, if nothing happens to the connection meanwhile."""
        if connection.status is not ConnectionStatus.LINKED:
            return DatasetStatus.AUTH_ERROR
        if not self.is_supported:
            return DatasetStatus.NOT_SUPPORTED
        if not self.is_permitted:
            return DatasetStatus.PERMISSIONS_ERROR
        temporary = settings.fails_first if self.attempts == 1 else settings.fails_later
        if random.random() < temporary:
            return random.choice(TEMPORARY_ERRORS)
        if random.random() < settings.rate_limit_error:
            return DatasetStatus.RATE_LIMIT_ERROR
        if random.random() < settings.authorization_lapses:
            return DatasetStatus.AUTH_ERROR
        return DatasetStatus.COMPLETE

    def records_modified(self, sync: Sync) -> bool:
        """Whether a read that went well found something new: records change as a Poisson process.

        Codat says no of the first read after linking, whatever it found.
        """
        before = self.latest_successful
        if before is None or before.fetched is None or sync.fetched is None:
            return False
        days = (sync.fetched - before.fetched) / timedelta(days=1)
        return sync.chance < -math.expm1(-self.changes_per_day * days)
