"""Codat's own schedule, as the account has it set: which data types Codat reads by itself, and when."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshness.codat.answers import SyncSetting
from freshness.company import Company
from freshness.row import Row

READ_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """What was last read of it, and when."""

    on_first_link: frozenset[str] = frozenset()
    """The data types that are read when a company links, which are also those that `data/all` queues."""
    hours: dict[str, int] = field(default_factory=dict)
    """The hours from one sync to the next, for the data types that Codat reads by itself."""
    read_at: datetime | None = None
    version: int = 0

    def are_old(self, now: datetime) -> bool:
        """Whether it is time to read them again."""
        return self.read_at is None or self.read_at + READ_EVERY <= now

    def queued_by_all(self, company: Company, rows: Iterable[Row]) -> list[Row]:
        """The rows of which `data/all` would queue a refresh; none if it would also ask for what is in vain.

        A company may have settings of its own, which are not asked for: that would cost a call for each company.
        What is therefore not queued is queued alone, and what is queued besides counts as asked for by others.
        """
        read = [row for row in rows if row.data_type in self.on_first_link]
        linked = [row for row in read if self._is_linked(row, company)]
        blocked = any(row.is_unsupported or row.is_blocked(company.connections[row.connection_id]) for row in linked)
        return [] if blocked else linked

    def _is_linked(self, row: Row, company: Company) -> bool:
        connection = company.connections.get(row.connection_id)
        return connection is not None and connection.is_linked

    def told(self, settings: Iterable[SyncSetting], now: datetime) -> "SyncSettings":
        """The settings as Codat tells them now."""
        settings = list(settings)
        return SyncSettings(
            on_first_link=frozenset(setting.data_type for setting in settings if setting.fetch_on_first_link),
            hours={setting.data_type: setting.sync_schedule for setting in settings if setting.sync_schedule > 0},
            read_at=now,
            version=self.version,
        )
