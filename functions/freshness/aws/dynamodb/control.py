"""The control table: what is known about the whole Codat account, and leases.

`control_key` makes the key of every item. To serve a second Codat account, add the account to the key there; note that
`_ACCOUNT_KEYS` is computed once, at import.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

from freshness.aws.dynamodb.item_codec import Item, Stored, adapter, dump
from freshness.aws.dynamodb.repository import Repository, Value
from freshness.aws.dynamodb.table import Table
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.listing import Listing
from freshness.domain.companies.pause import UNTIL_RESUMED, Pause
from freshness.domain.feeds.codat_schedule import CodatSchedule
from freshness.domain.times import sortable
from freshness.planning.sync_durations import SyncDurations

API_LIMITS = "api limits"
PAUSED = "paused"
_PAUSED_AT_START = "pause of a new stack"
_NEW = Pause(reason="a new stack")


class DispatchState(NamedTuple):
    """The state that decides about refreshes of all companies: the last pause of all, and the limits of Codat."""

    pause: Pause | None
    limits: ApiLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Replanned:
    """The progress of rescheduling all feeds by the policy with a fingerprint: done, or up to `position`."""

    policy: str = ""
    position: str = ""
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    table: Table
    name: str
    owner: str

    def release(self) -> None:
        """Give the lease back, unless another owner has taken it since."""
        self.table.release(control_key(f"lease {self.name}"), self.owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """Work under a lease that ends at `until` at the latest. `since` is when the first run of it began."""

    since: datetime
    until: datetime


_NAMES: dict[type[Any], str] = {
    ApiLimits: API_LIMITS,
    CodatSchedule: "codat schedule",
    Listing: "listing",
    Replanned: "replanned",
    SyncDurations: "sync durations",
}
"""The values that the account has once."""


def control_key(name: str) -> Item:
    """Return the key of an item of the control table."""
    return {"name": name}


_ACCOUNT_KEYS = [control_key(PAUSED), control_key(API_LIMITS)]


class Control:
    """The repository of the account's single values and leases."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._has_started = False

    def account(self) -> DispatchState:
        """Return the dispatch state, by one call.

        Raises:
            ContentionError: it could not be read now.
        """
        return _account_of(self._table.get_many(_ACCOUNT_KEYS))

    def account_with(self, other: Table, keys: list[Item]) -> tuple[DispatchState, list[Item]]:
        """Return the dispatch state, and items of another table, by one call.

        Raises:
            ContentionError: they could not be read now.
        """
        found = self._table.get_together({self._table.name: _ACCOUNT_KEYS, other.name: keys})
        return _account_of(found[self._table.name]), found[other.name]

    def read(self, kind: type[Stored]) -> Stored:
        """Return the value of a kind that the account has once; a new one if none was written yet."""
        item = self._table.get(control_key(_NAMES[kind]))
        return kind() if item is None else adapter(kind).validate_python(item)

    def update(self, known: Value, compute: Callable[[Value], Value]) -> Value:
        """Write what `compute` returns for such a value, as `Repository.update` does."""
        kind, key = type(known), control_key(_NAMES[type(known)])
        return Repository(self._table, adapter(kind).validate_python, lambda value: dump(value) | key).update(
            known, compute
        )

    def api_limits(self) -> ApiLimits:
        """Return the limits of Codat, as last written by any function."""
        return self.read(ApiLimits)

    def update_api_limits(self, known: ApiLimits, compute: Callable[[ApiLimits], ApiLimits]) -> ApiLimits:
        """Write what `compute` returns for the limits, as `Repository.update` does."""
        return self.update(known, compute)

    def paused(self) -> Pause | None:
        """Return the last pause of all refreshes, which may have ended; `None` if they were resumed."""
        item = self._table.get(control_key(PAUSED))
        return None if item is None else adapter(Pause).validate_python(item)

    def pause_if_new(self, work: str, now: datetime) -> None:
        """Pause all refreshes once, if the stack never did `work`. A process looks for that once."""
        if self._has_started:
            return
        if pause := self.pause_of_new(work):
            self.pause(pause)
            self.put_done(_PAUSED_AT_START, now)
        self._has_started = True

    def pause_of_new(self, work: str) -> Pause | None:
        """Return the pause of a stack that never did `work`; `None` for others, and if it was made or ended before."""
        is_new = self.last_done(work) is None and self.last_done(_PAUSED_AT_START) is None
        return _NEW if is_new else None

    def pause(self, pause: Pause = UNTIL_RESUMED) -> None:
        """Pause all refreshes. The last of `pause` and `resume` counts, so neither is conditional."""
        self._table.put_always(control_key(PAUSED) | dump(pause))

    def resume(self, now: datetime) -> None:
        """End a pause of all refreshes, also that of a new stack whose first tick is still to come."""
        self.put_done(_PAUSED_AT_START, now)
        self._table.delete(control_key(PAUSED))

    def put_replanned(self, replanned: Replanned) -> None:
        """Write how far the rescheduling of all feeds is, unconditionally: the tick that does it holds a lease."""
        self._table.put_always(dump(replanned) | control_key(_NAMES[Replanned]))

    def last_done(self, work: str) -> datetime | None:
        """Return when recurring work was last done; `None` if never."""
        item = self._table.get(control_key(f"done {work}"))
        return None if item is None else datetime.fromisoformat(item["at"])

    def put_done(self, work: str, at: datetime) -> None:
        """Write when recurring work was done. The write is not conditional: two runs at once differ by seconds."""
        self._table.put_always(control_key(f"done {work}") | {"at": sortable(at)})

    def acquire(self, lease: str, owner: str, until: datetime, now: datetime, since: datetime | None = None) -> bool:
        """Take a lease until a time, unless another owner holds it. Return whether it was taken.

        `since` is when the unfinished work under the lease began, by default `now`.
        """
        return self._table.acquire(control_key(f"lease {lease}"), owner, until, now, since)

    def take(self, lease: str, until: datetime, now: datetime) -> Lease | None:
        """Take a lease until a time, as an owner of its own. Return `None` if another owner holds it."""
        owner = uuid4().hex
        return Lease(self._table, lease, owner) if self.acquire(lease, owner, until, now) else None

    def unfinished(self, lease: str) -> Unfinished | None:
        """Return the work under a lease that did not end, or goes on; `None` if its last owner gave the lease back."""
        item = self._table.get(control_key(f"lease {lease}"), consistent=True)
        return None if item is None else adapter(Unfinished).validate_python(item)

    def release(self, lease: str, owner: str) -> None:
        Lease(self._table, lease, owner).release()


def _account_of(found: Iterable[Item]) -> DispatchState:
    items = {item["name"]: item for item in found}
    limits = adapter(ApiLimits).validate_python(items[API_LIMITS]) if API_LIMITS in items else ApiLimits()
    pause = adapter(Pause).validate_python(items[PAUSED]) if PAUSED in items else None
    return DispatchState(pause, limits)
