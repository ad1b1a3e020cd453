"""Companies and their connections, as Codat last reported them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter

from freshness.domain.companies.pause import Pause
from freshness.domain.companies.platforms import most_specific, selects
from freshness.domain.data_types import SOURCE_TYPES_WITH_OWN_DATA_TYPES, custom_identifier, source_type


class ConnectionStatus(StrEnum):
    """Codat's statuses of a connection, in the usual order."""

    PENDING_AUTH = "PendingAuth"
    LINKED = "Linked"
    UNLINKED = "Unlinked"
    DEAUTHORIZED = "Deauthorized"
    DELETED = "Deleted"
    """Not one of Codat's: the connection was deleted at Codat. It is kept, so that late facts do not bring it back."""


class ReadOnce(StrEnum):
    """Whether and why a connection is read only once. It may then lapse, and nobody is asked to relink."""

    NO = ""
    POLICY = "policy"
    """The policy says so."""
    INFERRED = "inferred"
    """The customer seems to have linked the connection for one read only, which on-premise platforms offer."""
    UNDECIDED = "undecided"
    """The connection lapsed before it was known to have been read: the next check finds out."""


ON_PREMISE = ("QuickBooks Desktop", "Sage 50", "pqsw", "hbql")
"""Platforms that Codat reads only while the customer's own machine is online."""
_STATUSES = tuple(ConnectionStatus)

ONE_READ_WITHIN = timedelta(hours=1)
"""An on-premise connection that lapses this soon after its first successful read counts as linked for that alone."""
REFUSED_AGAIN_AFTER = timedelta(minutes=15)
"""How far apart two refused reads must be to show that an authorisation lapsed: one alone may be a mistake."""
WARN_OF_CONSENT = timedelta(days=7)
"""How long before the customer's consent ends the event `Relink due soon` is published."""
LINKED_REPORTS_KEPT = 32
"""How many `linked_reports` a connection keeps: the earliest ones."""
REFUSALS_KEPT = 16
"""How many of the earliest refused reads are kept. `Connection.with_reads` keeps the latest too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A company's link to one platform. `status_at` is when Codat reported these values, by Codat's clock."""

    connection_id: str
    platform: str
    source_type: str
    status: str
    status_at: datetime
    integration_key: str = ""
    """Codat's key of the platform, which stays when the name changes; empty until Codat reports it."""
    link_url: str = ""
    """Where the customer relinks. The link may have expired: some are valid for a day, or for one use."""
    link_url_read_at: datetime | None = None
    """When Codat reported `link_url`; `None` if that was at `status_at`."""
    reconnected_at: datetime | None = None
    """When Codat last reported that it can read through the connection again."""
    unlinked_at: datetime | None = None
    """When Codat last reported that our own user unlinked the connection."""
    not_linked_at: datetime | None = None
    """When Codat last reported another status than `Linked`, if the status is `Linked` now."""
    linked_reports: tuple[datetime, ...] = ()
    """When Codat reported `Linked` since `not_linked_at`, in order and without the report at `status_at`."""
    consent_ends_at: datetime | None = None
    """When the customer's consent ends, once that is announced (`Company.with_consent`)."""
    refusals: tuple[datetime, ...] = ()
    """When reads ended with `AuthError`, since `status_at` and since the last success, in order."""
    first_read_at: datetime | None = None
    """When the earliest known success of a read through the connection ended."""
    read_once: ReadOnce = ReadOnce.NO
    """Whether the connection is read only once. `Company.with_read_once` decides that after each fact."""
    absent_since: datetime | None = None
    """Since when Codat's lists have lacked the connection; `None` if the last list had it."""
    reason: str = ""
    """Its last error, or Codat's note on it, in Codat's words, as last reported."""

    @property
    def is_linked(self) -> bool:
        return self.status == ConnectionStatus.LINKED

    @property
    def was_linked(self) -> bool:
        """Return whether the customer has authorised the connection at some time, and it is not deleted."""
        return self.status not in (ConnectionStatus.PENDING_AUTH, ConnectionStatus.DELETED)

    @property
    def is_on_premise(self) -> bool:
        """Return whether Codat can read through the connection only while the customer's own machine is online."""
        return most_specific(ON_PREMISE, self.platform, self.integration_key) is not None

    def is_on(self, name: str) -> bool:
        """Return whether a name in the policy selects the connection's platform, as `platforms.selects` says."""
        return selects(name, self.platform, self.integration_key)

    @property
    def is_refused(self) -> bool:
        """Return whether two reads were refused, `REFUSED_AGAIN_AFTER` or more apart, though it is linked."""
        return self.is_linked and bool(_refused_again(self.refusals))

    @property
    def lapsed_at(self) -> datetime | None:
        """Return since when the customer must relink; `None` if that is not needed."""
        if self.is_refused:
            return self.refusals[0]
        is_excused = self.is_over or self.read_once is ReadOnce.UNDECIDED
        return self.status_at if self.status == ConnectionStatus.DEAUTHORIZED and not is_excused else None

    @property
    def linked_at(self) -> datetime | None:
        """Return when the connection last became linked or was reconnected; `None` if it is not linked."""
        if not self.is_linked:
            return None
        first = min((*self.linked_reports, self.status_at))
        return max(first, self.reconnected_at or first)

    @property
    def is_over(self) -> bool:
        """Return whether the connection is finished: lapsed after its only read, or unlinked by our own user."""
        if self.is_unlinked:
            return True
        is_read = self.first_read_at is not None and self.read_once in (ReadOnce.POLICY, ReadOnce.INFERRED)
        return is_read and self.status == ConnectionStatus.DEAUTHORIZED

    def suffices(self, succeeded_at: datetime | None) -> bool:
        """Return whether the policy wants only one read, and that was made since the last reconnection."""
        if succeeded_at is None or self.read_once is not ReadOnce.POLICY:
            return False
        return self.reconnected_at is None or succeeded_at >= self.reconnected_at

    @property
    def is_unlinked(self) -> bool:
        """Return whether our own user unlinked the connection at Codat."""
        return self.status == ConnectionStatus.UNLINKED

    @property
    def linked_anew_at(self) -> datetime | None:
        """Return when the connection was linked again after it was over; `None` if never. Promises count from then."""
        if self.read_once is ReadOnce.POLICY:
            return self.reconnected_at
        if self.unlinked_at is None:
            return None
        linked_at = (self.reconnected_at, self.status_at if self.is_linked else None)
        return min((at for at in linked_at if at and at > self.unlinked_at), default=None)

    def with_reads(self, refused: Iterable[datetime], succeeded_at: datetime | None = None) -> "Connection":
        """Return the connection after reads were refused, and the last success ended at `succeeded_at`.

        Only refusals since `status_at` and after that success count. Of many, the earliest and the latest are kept:
        enough to say whether reads are refused again, even if a success between them is reported later.
        """
        counted = sorted(
            at
            for at in {*self.refusals, *refused}
            if at >= self.status_at and (succeeded_at is None or at > succeeded_at)
        )
        again = _refused_again(counted)
        kept = (*again[:REFUSALS_KEPT], *again[REFUSALS_KEPT:][-1:], *counted[len(again) :])
        first_read_at = min(filter(None, (self.first_read_at, succeeded_at)), default=None)
        if (kept, first_read_at) == (self.refusals, self.first_read_at):
            return self
        return replace(self, refusals=kept, first_read_at=first_read_at)

    @property
    def link_url_known_at(self) -> datetime | None:
        """Return when Codat reported `link_url`; `None` if there is none."""
        return (self.link_url_read_at or self.status_at) if self.link_url else None

    def with_link(self, url: str, at: datetime) -> "Connection":
        """Return the connection with the link that Codat returned at `at`; unchanged if that is empty or not newer."""
        known_at = self.link_url_known_at
        return self if not url or (known_at and known_at >= at) else replace(self, link_url=url, link_url_read_at=at)

    def latest(self, other: "Connection") -> "Connection":
        """Merge two reports of the connection: what Codat reported last counts, in whatever order they arrived.

        A webhook may leave out the platform or the link: these are taken from the earlier report.
        """
        earlier, last = sorted((self, other), key=_age_rank)
        known = (each.not_linked_at if each.is_linked else each.status_at for each in (earlier, last))
        not_linked = max(filter(None, known), default=None)
        absent_since = last.absent_since or earlier.absent_since
        links = [(each.link_url_known_at or each.status_at, each.link_url) for each in (earlier, last) if each.link_url]
        link_url_known_at, link_url = max(links, default=(None, ""))
        return replace(
            last,
            link_url=link_url,
            link_url_read_at=link_url_known_at,
            platform=last.platform or earlier.platform,
            integration_key=last.integration_key or earlier.integration_key,
            source_type=last.source_type or earlier.source_type,
            reconnected_at=max(filter(None, (self.reconnected_at, other.reconnected_at)), default=None),
            unlinked_at=max(filter(None, (self.unlinked_at, other.unlinked_at)), default=None),
            first_read_at=min(filter(None, (self.first_read_at, other.first_read_at)), default=None),
            not_linked_at=not_linked if last.is_linked else None,
            linked_reports=_linked_reports(self, other, after=not_linked, besides=last.status_at),
            absent_since=absent_since if absent_since and absent_since > last.status_at else None,
        ).with_reads((*self.refusals, *other.refusals))

    def differs(self, other: "Connection") -> bool:
        """Return whether `other` reports anything new. Times, the reason and a changed link do not count.

        Codat may report a new link each time, where links are valid for one use.
        """
        is_first_link = bool(other.link_url) and not self.link_url
        return is_first_link or _said(self) != _said(other)


_said = attrgetter("connection_id", "platform", "integration_key", "source_type", "status")


def _refused_again(refusals: Sequence[datetime]) -> Sequence[datetime]:
    """Return the refusals that came `REFUSED_AGAIN_AFTER` or more before the last one. They are given in order."""
    return [at for at in refusals if at <= refusals[-1] - REFUSED_AGAIN_AFTER]


def _linked_reports(*reports: Connection, after: datetime | None, besides: datetime) -> tuple[datetime, ...]:
    """Return the earliest times at which reports say `Linked`, after `after` and without `besides`."""
    times = {at for each in reports for at in (*each.linked_reports, *([each.status_at] if each.is_linked else ()))}
    return tuple(sorted(at for at in times - {besides} if after is None or at > after)[:LINKED_REPORTS_KEPT])


def _consent_ends_at(connection: Connection, lasts: timedelta | None) -> datetime | None:
    """Return when consent ends: `lasts` after the last link; `None` if no end is to be announced."""
    is_asked_already = connection.lapsed_at is not None or connection.read_once is ReadOnce.POLICY
    return connection.linked_at + lasts if lasts and connection.linked_at and not is_asked_already else None


def _age_rank(connection: Connection) -> tuple[datetime, int, str, str, str, str, str, str]:
    """Return the sort key of a report: its time, then its status in the usual order, then its other values."""
    status = connection.status
    position = _STATUSES.index(ConnectionStatus(status)) if status in _STATUSES else -1
    of_platform = connection.platform, connection.integration_key, connection.source_type
    return (connection.status_at, position, status, connection.link_url, *of_platform, connection.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A company that is watched. `check_at` is when to check it next; `None` after its deletion."""

    company_id: str
    name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    parent_id: str = ""
    """The id of its parent company; empty if it has none."""
    products: tuple[str, ...] = ()
    """The identifiers of the products that Codat has enabled for the company."""
    connections: dict[str, Connection] = field(default_factory=dict)
    check_at: datetime | None = None
    checked_at: datetime | None = None
    """When Codat was last polled about the company; `None` if the next check must poll in any case."""
    failed_checks: int = 0
    """Checks that failed in a row."""
    unanswered_at: datetime | None = None
    """When the last call about the company got no response, by our own clock; `None` if it got one."""
    not_found_at: datetime | None = None
    """When Codat first answered 404 for the company, by our own clock; `None` if it was found since."""
    deleted_at: datetime | None = None
    restored_at: datetime | None = None
    """When Codat listed the company again after it was taken as deleted."""
    bulk_refresh_at: datetime | None = None
    """When one call that queues several feeds was last made, or about to be made, by our own clock."""
    pause: Pause | None = None
    """An operator's last pause of the company's refreshes. It may have ended."""
    feeds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The data types that are kept fresh, by connection id, as of the last check."""
    version: int = 0

    def due_for_check(self, now: datetime) -> "Company":
        """Return the company due for a check that polls Codat: something happened, and only Codat knows what."""
        return replace(self, check_at=min(self.check_at or now, now), checked_at=None)

    def with_each(self, change: Callable[[Connection], Connection]) -> "Company":
        """Return the company after a change of each connection; unchanged if no connection is."""
        connections = {connection_id: change(connection) for connection_id, connection in self.connections.items()}
        return self if connections == self.connections else replace(self, connections=connections)

    def with_read_once(self, reads_once: "Callable[[Company, Connection], bool]") -> "Company":
        """Return the company with its connections' `read_once` set. `reads_once` returns whether the policy sets it."""

        def changed(connection: Connection) -> Connection:
            read_once = self._read_once(connection, reads_once(self, connection))
            return connection if connection.read_once == read_once else replace(connection, read_once=read_once)

        return self.with_each(changed)

    def with_consent(self, consent: "Callable[[Company, Connection], timedelta | None]", now: datetime) -> "Company":
        """Return the company with the ends of consent that are near, due for a check when the next becomes near."""
        connections, check_at = {}, self.check_at
        for connection_id, connection in self.connections.items():
            ends_at = _consent_ends_at(connection, consent(self, connection))
            announced_at = ends_at - WARN_OF_CONSENT if ends_at else None
            if check_at and announced_at and announced_at > now:
                check_at = min(check_at, announced_at)
            if announced_at is None or announced_at > now:
                ends_at = None
            is_known = connection.consent_ends_at == ends_at
            connections[connection_id] = connection if is_known else replace(connection, consent_ends_at=ends_at)
        is_known = (connections, check_at) == (self.connections, self.check_at)
        return self if is_known else replace(self, connections=connections, check_at=check_at)

    def _read_once(self, connection: Connection, by_policy: bool) -> ReadOnce:
        has_lapsed = connection.status == ConnectionStatus.DEAUTHORIZED
        is_only = (
            has_lapsed
            and connection.is_on_premise
            and not any(
                each.was_linked and each.status_at <= connection.status_at
                for each in self.connections.values()
                if each.connection_id != connection.connection_id
            )
        )
        read_at = connection.first_read_at
        if has_lapsed and read_at is None and (by_policy or is_only):
            is_polled_since = self.checked_at is not None and self.checked_at >= connection.status_at
            return ReadOnce.NO if is_polled_since else ReadOnce.UNDECIDED
        if by_policy:
            return ReadOnce.POLICY
        is_one_read = is_only and read_at and connection.status_at <= read_at + ONE_READ_WITHIN
        return ReadOnce.INFERRED if is_one_read else ReadOnce.NO

    @property
    def was_linked(self) -> bool:
        """Return whether any connection was ever authorised and is not deleted: if none, there is nothing to poll."""
        return any(connection.was_linked for connection in self.connections.values())

    @property
    def needs_relink_at(self) -> datetime | None:
        """Return since when the customer must relink one of its connections; `None` if none needs that."""
        if self.deleted_at:
            return None
        return min((at for c in self.connections.values() if (at := c.lapsed_at)), default=None)

    @property
    def relink_at(self) -> datetime | None:
        """Return `needs_relink_at`, else the earliest announced end of consent; `None` if there is neither."""
        if self.deleted_at:
            return None
        ends = (at for c in self.connections.values() if (at := c.consent_ends_at))
        return self.needs_relink_at or min(ends, default=None)

    def active_connections(self, data_type: str) -> list[Connection]:
        """Return the connections that a data type is read from, or was read from until they lapsed.

        If all are unlinked, that is the last of them, or none for a custom data type.
        """
        candidates = self.candidate_connections(data_type)
        remaining = [c for c in candidates if not c.is_unlinked]
        if custom_identifier(data_type):
            return remaining
        return remaining or candidates[-1:]

    def candidate_connections(self, data_type: str) -> list[Connection]:
        """Return the connections that a data type is, or was, read from: its data status may be about any of them.

        They have the data type's source type. If none has, those count whose source type does not say what they supply.
        A custom data type may come from any. A connection that was never authorised, or is deleted, does not count.
        """
        linkable = [c for c in self.connections.values() if c.was_linked]
        if custom_identifier(data_type):
            return linkable
        fitting = [c for c in linkable if c.source_type == source_type(data_type)]
        return fitting or [c for c in linkable if c.source_type not in SOURCE_TYPES_WITH_OWN_DATA_TYPES]
