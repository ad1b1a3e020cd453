"""One company and its connections, as Codat last told of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from freshness.domain import backoff
from freshness.domain.data_types import TELLING, source_type


class ConnectionStatus(StrEnum):
    """Codat's states of a connection's authorisation."""

    PENDING_AUTH = "PendingAuth"
    LINKED = "Linked"
    UNLINKED = "Unlinked"
    DEAUTHORIZED = "Deauthorized"
    DELETED = "Deleted"
    """Ours: Codat no longer has the connection. It is kept so that late news does not bring the connection back."""


_DELETED = ConnectionStatus.DELETED
_LIFE = tuple(ConnectionStatus)
"""The statuses in the order in which a connection usually passes through them: of two at the same time, the later."""


def _rank(status: str) -> tuple[int, str]:
    """Return where a status stands in a connection's life; one that Codat added since comes first."""
    return (_LIFE.index(ConnectionStatus(status)) if status in _LIFE else -1, status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A company's link to one platform. `status_at` is when Codat last said so, by Codat's clock."""

    connection_id: str
    platform: str
    source_type: str
    status: str
    status_at: datetime
    link_url: str = ""
    reconnected_at: datetime | None = None
    """When Codat last said that it can read again what for a while it could not."""

    @property
    def is_linked(self) -> bool:
        """Whether Codat can read through it now."""
        return self.status == ConnectionStatus.LINKED

    @property
    def was_linked(self) -> bool:
        """Whether Codat has read through it, and still has it."""
        return self.status not in (ConnectionStatus.PENDING_AUTH, _DELETED)

    @property
    def needs_relink(self) -> bool:
        """Whether the customer must authorise it again before Codat can read through it."""
        return self.status in (ConnectionStatus.UNLINKED, ConnectionStatus.DEAUTHORIZED)

    def latest(self, other: "Connection") -> "Connection":
        """What both together tell: what Codat said last, in whatever order the two became known.

        A webhook need not say all of it: what the last left empty is as the other has it.
        """
        earlier, last = sorted(
            (self, other),
            key=lambda told: (told.status_at, *_rank(told.status), told.link_url, told.platform, told.source_type),
        )
        return replace(
            last,
            link_url=last.link_url or earlier.link_url,
            platform=last.platform or earlier.platform,
            source_type=last.source_type or earlier.source_type,
            reconnected_at=max(filter(None, (self.reconnected_at, other.reconnected_at)), default=None),
        )

    def differs(self, other: "Connection") -> bool:
        """Whether `other` says anything new, its times aside."""
        return replace(other, status_at=self.status_at, reconnected_at=self.reconnected_at) != self

    def listed(self, other: "Connection") -> "Connection":
        """This connection as Codat lists it now; one that can be read again was reconnected."""
        if not self.differs(other):
            return self
        if other.is_linked and self.needs_relink:
            other = replace(other, reconnected_at=other.status_at)
        return self.latest(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A company under watch. `check_at` is when to ask Codat for its data status next; `None` once deleted."""

    company_id: str
    name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    check_at: datetime | None = None
    checked_at: datetime | None = None
    """When Codat was last asked; `None` if it must be asked, however lately it was."""
    failed_checks: int = 0
    """Checks that failed in a feed."""
    planned_by: str = ""
    """The fingerprint of the policy by which its feeds were last planned."""
    deleted_at: datetime | None = None
    paused: bool = False
    """Whether a person wants nothing to be refreshed for now."""
    version: int = 0

    def listed(
        self, name: str, tags: dict[str, str], connections: Iterable[Connection], at: datetime, now: datetime
    ) -> "Company":
        """This company as Codat listed it at `at`, by Codat's clock.

        It is due for a check if anything but its name changed: a policy's rules go by tags. A list from before it was
        deleted is passed over. A connection that is no longer listed was deleted.
        """
        if self.deleted_at and at <= self.deleted_at:
            return self
        seen = {connection.connection_id: connection for connection in connections}
        told = {
            connection_id: known.listed(seen.get(connection_id) or replace(known, status=_DELETED, status_at=at))
            for connection_id, known in self.connections.items()
        }
        told |= {connection_id: seen[connection_id] for connection_id in seen.keys() - told.keys()}
        changed = told != self.connections or tags != self.tags
        return replace(
            self,
            name=name,
            tags=tags,
            connections=told,
            check_at=now if changed or self.check_at is None else self.check_at,
            deleted_at=None,
        )

    def told_of(self, connection: Connection, now: datetime) -> "Company":
        """This company after Codat told of one of its connections; due for a check if that was news."""
        if self.deleted_at:
            return self
        known = self.connections.get(connection.connection_id, connection)
        latest = known.latest(connection)
        if self.connections.get(connection.connection_id) == latest:
            return self
        return replace(self, connections=self.connections | {connection.connection_id: latest}).due_for_check(now)

    def deleted(self, at: datetime) -> "Company":
        """What is left of the company after Codat deleted it: enough for late news not to bring it back."""
        return Company(
            company_id=self.company_id,
            deleted_at=max(filter(None, (self.deleted_at, at))),
            version=self.version,
        )

    def due_for_check(self, now: datetime) -> "Company":
        """This company as one of which something happened that only Codat can tell more about."""
        return replace(self, check_at=min(self.check_at or now, now), checked_at=None)

    def check_failed(self, now: datetime, first: timedelta, longest: timedelta) -> "Company":
        """Return the company after a check failed, due for another after a delay from `first` to `longest`."""
        failed_checks = self.failed_checks + 1
        retry_at = now + backoff.delay(self.company_id, failed_checks, first=first, longest=longest)
        return replace(self, failed_checks=failed_checks, check_at=retry_at)

    @property
    def was_linked(self) -> bool:
        """Whether there is a connection that Codat has read through: if not, there is nothing to ask it about."""
        return any(connection.was_linked for connection in self.connections.values())

    def active_connections(self, data_type: str) -> list[Connection]:
        """The connections that a data type is read from, linked or in need of a relink.

        One that was unlinked counts only while no other took its place.
        """
        sources = self.candidate_connections(data_type)
        remaining = [c for c in sources if c.status != ConnectionStatus.UNLINKED]
        return remaining or sources[-1:]

    def candidate_connections(self, data_type: str) -> list[Connection]:
        """The connections that a data type is read from, or was: what Codat says of it may be about any of them.

        They are those of the source type that the data type belongs to; where there is none, those whose source type
        says nothing of what they hold. One never linked, or deleted, does not count.
        """
        linkable = [c for c in self.connections.values() if c.was_linked]
        fitting = [c for c in linkable if c.source_type == source_type(data_type)]
        return fitting or [c for c in linkable if c.source_type not in TELLING]
