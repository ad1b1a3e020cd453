"""Codat's own schedule, as the account has it set: which data types Codat reads by itself, and when."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshness.codat.models import SyncSetting
from freshness.domain.company import Company
from freshness.domain.feed import Feed

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

    def queued_by_all(self, company: Company, feeds: Iterable[Feed]) -> list[Feed]:
        """The feeds of which `data/all` would queue a refresh; none if it would also ask for what is in vain.

        A company may have settings of its own, which are not asked for: that would cost a call for each company.
        What is therefore not queued is queued alone, and what is queued besides counts as asked for by others.
        """
        read = [feed for feed in feeds if feed.data_type in self.on_first_link]
        linked = [feed for feed in read if self._is_linked(feed, company)]
        blocked = any(
            feed.is_unsupported or feed.is_blocked(company.connections[feed.connection_id]) for feed in linked
        )
        return [] if blocked else linked

    def _is_linked(self, feed: Feed, company: Company) -> bool:
        connection = company.connections.get(feed.connection_id)
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
