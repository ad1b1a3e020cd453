"""One company and its connections, as Codat last told of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from freshness.data_types import TELLING, source_type


class ConnectionStatus(StrEnum):
    """Codat's states of a connection's authorisation."""

    PENDING_AUTH = "PendingAuth"
    LINKED = "Linked"
    UNLINKED = "Unlinked"
    DEAUTHORIZED = "Deauthorized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A company's link to one platform. `status_at` is when Codat said so, by Codat's clock."""

    connection_id: str
    platform: str
    source_type: str
    status: str
    status_at: datetime
    link_url: str = ""

    @property
    def is_linked(self) -> bool:
        """Whether Codat can read through it now."""
        return self.status == ConnectionStatus.LINKED

    def latest(self, other: "Connection") -> "Connection":
        """The one of the two that Codat told last."""
        return max(self, other, key=lambda connection: (connection.status_at, connection.status))

    def differs(self, other: "Connection") -> bool:
        """Whether `other` says anything new, its time aside."""
        return replace(other, status_at=self.status_at) != self


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
    planned_by: str = ""
    """The fingerprint of the policy by which its rows were last planned."""
    deleted_at: datetime | None = None
    paused: bool = False
    """Whether a person wants nothing to be refreshed for now."""
    version: int = 0

    def listed(self, name: str, tags: dict[str, str], connections: Iterable[Connection], now: datetime) -> "Company":
        """This company as Codat lists it now. It is due for a check if anything but its name or tags changed."""
        seen = {connection.connection_id: connection for connection in connections}
        told = {
            connection_id: known.latest(connection)
            if (known := self.connections.get(connection_id)) and known.differs(connection)
            else known or connection
            for connection_id, connection in seen.items()
        }
        changed = told != self.connections
        return replace(
            self,
            name=name,
            tags=tags,
            connections=told,
            check_at=now if changed or self.check_at is None else self.check_at,
            deleted_at=None,
        )

    def due_for_check(self, now: datetime) -> "Company":
        """This company as one of which something happened that only Codat can tell more about."""
        return replace(self, check_at=min(self.check_at or now, now), checked_at=None)

    def feeds(self, data_type: str) -> list[Connection]:
        """The connections that a data type is read from, linked or in need of a relink.

        They are those of the source type that the data type belongs to; where there is none, those whose source type
        says nothing of what they hold. One that was unlinked counts only while no other took its place; one never
        linked does not count.
        """
        linkable = [c for c in self.connections.values() if c.status != ConnectionStatus.PENDING_AUTH]
        fitting = [c for c in linkable if c.source_type == source_type(data_type)]
        fitting = fitting or [c for c in linkable if c.source_type not in TELLING]
        remaining = [c for c in fitting if c.status != ConnectionStatus.UNLINKED]
        return remaining or fitting[-1:]
