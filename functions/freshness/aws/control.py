"""The control table: what is known of the Codat account as a whole, and leases.

Every key of an item is made by `control_key`: a second Codat account in the same table would need another prefix there,
and nothing else.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from pydantic import TypeAdapter

from freshness.aws.item_codec import Item, dump
from freshness.aws.table import Table, Value
from freshness.domain.api_limits import ApiLimits
from freshness.domain.change_rate import FleetRates
from freshness.domain.codat_schedule import CodatSchedule
from freshness.domain.times import sortable
from freshness.planning.sync_durations import SyncDurations

_API_LIMITS = TypeAdapter(ApiLimits)
_CODAT_SCHEDULE = TypeAdapter(CodatSchedule)
_SYNC_DURATIONS = TypeAdapter(SyncDurations)
_FLEET_RATES = TypeAdapter(FleetRates)

REREAD_RATES = 3600.0
"""Seconds after which a process reads the rates of the fleet again, to which other processes add."""
SIGNIFICANT = math.log(1.1)
"""The change of a rate's logarithm that is worth writing it: a tenth. Each feed's own rate is less precise."""


def control_key(name: str) -> Item:
    """Return the key of an item of the control table."""
    return {"name": name}


class Control:
    """The repository of the account's single values and leases."""

    def __init__(self, table: Table, seconds: Callable[[], float] = time.monotonic) -> None:
        """Create the repository. `seconds` is a clock that is never set back."""
        self._table = table
        self._seconds = seconds
        self._rates: FleetRates | None = None
        self._rates_written = FleetRates()
        self._rates_read_at = 0.0

    def api_limits(self) -> ApiLimits:
        """Return what Codat allows, as far as any function knows."""
        return self._get("api limits", _API_LIMITS) or ApiLimits()

    def update_api_limits(self, known: ApiLimits, compute: Callable[[ApiLimits], ApiLimits]) -> ApiLimits:
        """Write what `compute` returns for the limits as they were read, and return them as written."""
        return self._update("api limits", _API_LIMITS, known, compute)

    def codat_schedule(self) -> CodatSchedule:
        """Return Codat's own schedule, as it was last read."""
        return self._get("codat schedule", _CODAT_SCHEDULE) or CodatSchedule()

    def update_codat_schedule(
        self, known: CodatSchedule, compute: Callable[[CodatSchedule], CodatSchedule]
    ) -> CodatSchedule:
        """Write what `compute` returns for the schedule as it was read, and return it as written."""
        return self._update("codat schedule", _CODAT_SCHEDULE, known, compute)

    def sync_durations(self) -> SyncDurations:
        """Return how long syncs usually take."""
        return self._get("sync durations", _SYNC_DURATIONS) or SyncDurations()

    def update_sync_durations(
        self, known: SyncDurations, compute: Callable[[SyncDurations], SyncDurations]
    ) -> SyncDurations:
        """Write what `compute` returns for the durations as they were read, and return them as written."""
        return self._update("sync durations", _SYNC_DURATIONS, known, compute)

    def fleet_rates(self) -> FleetRates:
        """Return what was learned of how often feeds of each platform and data type change.

        A process reads it once an hour.
        """
        if self._rates is None or self._rates_read_at + REREAD_RATES <= self._seconds():
            item = self._table.get(control_key("fleet rates"))
            self._rates = self._rates_written = (
                FleetRates() if item is None else _FLEET_RATES.validate_json(item["rates"])
            )
            self._rates_read_at = self._seconds()
        return self._rates

    def add_to_fleet_rates(self, rates: Iterable[tuple[str, str, float]]) -> None:
        """Add feeds to what was learned, each given by its platform, data type and rate.

        It is written once it differs significantly from what the table has. Two processes overwrite each other: each
        value is a mean of many.
        """
        self._rates = self.fleet_rates().with_feeds(rates)
        if _differ(self._rates_written, self._rates):
            self._table.put_always(control_key("fleet rates") | {"rates": _FLEET_RATES.dump_json(self._rates).decode()})
            self._rates_written = self._rates

    def is_paused(self) -> bool:
        """Return whether an operator paused all refreshes."""
        return self._table.get(control_key("paused")) is not None

    def pause(self) -> None:
        """Pause all refreshes until `resume`."""
        self._table.put_always(control_key("paused"))

    def resume(self) -> None:
        """End a pause of all refreshes."""
        self._table.delete(control_key("paused"))

    def webhook_received_at(self) -> datetime | None:
        """Return when a webhook was last applied, to within `freshness.app.webhook_heartbeat.WRITTEN_EVERY`."""
        item = self._table.get(control_key("webhook heartbeat"))
        return None if item is None else datetime.fromisoformat(item["at"])

    def put_webhook_received_at(self, at: datetime) -> None:
        """Write when a webhook was last applied."""
        self._table.put_always(control_key("webhook heartbeat") | {"at": sortable(at)})

    def acquire(self, lease: str, owner: str, until: datetime, now: datetime, since: datetime | None = None) -> bool:
        """Take a lease until a time, unless another owner holds it. Return whether it was taken.

        `since` is when work under the lease began that was not finished, by default `now`.
        """
        return self._table.acquire(control_key(f"lease {lease}"), owner, until, now, since)

    def unfinished_since(self, lease: str) -> datetime | None:
        """Return when work under a lease began that was not finished: whoever held the lease did not give it back."""
        item = self._table.get(control_key(f"lease {lease}"), consistent=True)
        return None if item is None else datetime.fromisoformat(item["since"])

    def release(self, lease: str, owner: str) -> None:
        """Give a lease back, unless another owner has taken it since."""
        self._table.release(control_key(f"lease {lease}"), owner)

    def _get(self, name: str, adapter: TypeAdapter[Value]) -> Value | None:
        item = self._table.get(control_key(name))
        return None if item is None else adapter.validate_python(item)

    def _update(self, name: str, adapter: TypeAdapter[Value], known: Value, compute: Callable[[Value], Value]) -> Value:
        def put(value: Value) -> Value:
            written = replace(value, version=value.version + 1)
            self._table.put(dump(adapter, written) | control_key(name), value.version)
            return written

        return self._table.update(known, compute, put, adapter.validate_python)


def _differ(written: FleetRates, rates: FleetRates) -> bool:
    """Return whether a rate is new, changed by a tenth since it was written, or is of twice as many feeds."""
    for kind, rate in rates.by_kind.items():
        known = written.by_kind.get(kind)
        if known is None or rate.feeds >= 2 * known.feeds or abs(rate.mean_log - known.mean_log) >= SIGNIFICANT:
            return True
    return False
