"""What was learned of the fleet, in the control table.

That is an item with the rates of all kinds, one for each rhythm, and one for each month with when data was read.
"""

import math
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from zlib import crc32

from freshness.aws.control import control_key
from freshness.aws.item_codec import Item, adapter
from freshness.aws.table import Table
from freshness.domain.fleet import FeedSample, Fleet, Kind, KindRate
from freshness.domain.rhythm import HOURS, NO_COUNTS, HourCounts, hour_of_week
from freshness.planning.spending import month_of

REREAD = 3600.0
"""Seconds after which a process reads again what other processes learned too."""
SIGNIFICANT = math.log(1.1)
"""The change of a rate's logarithm that is worth writing it: a tenth. Each feed's own rate is less precise."""
SIGNIFICANT_SHARE, SIGNIFICANT_CHANGES = 0.01, 20.0
"""How many more expected changes make a rhythm worth writing: as a share of those counted, and at least."""

SAMPLE = 4
"""One of `SAMPLE` requests for fresh data is counted, to save writes."""
READS_KEPT = timedelta(days=62)

_HOUR = "hour "
"""What precedes an hour of the week in the name of its number of reads."""
_HOURS = struct.Struct(f">{2 * HOURS}e")
"""Half floats, so that a rhythm fits into one write unit."""


class Learned:
    """The repository of what was learned of the fleet. Several processes may add to it: each value is a sum of many."""

    def __init__(
        self,
        table: Table,
        seconds: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Create the repository. `seconds` is a clock that is never set back; `clock` says which month it is."""
        self._table = table
        self._seconds = seconds
        self._clock = clock
        self._read = Fleet()
        self._read_at: float | None = None
        self._unwritten = Fleet()

    def fleet(self) -> Fleet:
        """Return what was learned. A process reads it once an hour."""
        if self._read_at is None or self._read_at + REREAD <= self._seconds():
            self._read, self._read_at = self._stored(), self._seconds()
        return self._read.merged(self._unwritten)

    def count_read(self, request_id: str, at: datetime, zone: tzinfo) -> None:
        """Count a request for fresh data about a company in a zone, if it is in the sample."""
        if crc32(request_id.encode()) % SAMPLE == 0:
            expires = {"expires_at": int((at + READS_KEPT).timestamp())}
            self._table.add(_reads_key(at), {f"{_HOUR}{hour_of_week(at, zone)}": 1}, expires)

    def add(self, samples: Iterable[FeedSample]) -> None:
        """Add samples. What they show of a kind is written once it differs significantly from what the table has."""
        self._unwritten = self._unwritten.merged(self.fleet().learned(samples))
        changed = {
            name: kind for name, kind in self._unwritten.kinds.items() if _differs(self._read.kinds.get(name), kind)
        }
        if changed:
            self._write(changed)

    def _write(self, changed: dict[str, Kind]) -> None:
        """Add to what the table has by now.

        It is not conditional: of two ticks of shards that write at the same moment, what one had learned may be lost.
        That is harmless. The values are averages of many syncs, and the next syncs are learned from again.
        """
        stored = self._stored()
        self._read, self._read_at = stored.merged(Fleet(changed)), self._seconds()
        kept = self._unwritten.kinds.items()
        self._unwritten = Fleet({name: kind for name, kind in kept if name not in changed})
        rates = {name: kind.rate for name, kind in self._read.kinds.items()}
        self._table.put_always(
            control_key("fleet rates") | {"rates": adapter(dict[str, KindRate]).dump_json(rates).decode()}
        )
        for name in changed:
            hours = self._read.kinds[name].hours
            if hours.weight:
                packed = _HOURS.pack(*hours.changes, *hours.expected)
                evidence = Decimal(f"{self._read.kinds[name].evidence:.3f}")
                self._table.put_always(_rhythm_key(name) | {"hours": packed, "evidence": evidence})

    def _stored(self) -> Fleet:
        item = self._table.get(control_key("fleet rates"))
        rates = adapter(dict[str, KindRate]).validate_json(item["rates"]) if item else {}
        kinds = {name: Kind(rate) for name, rate in rates.items()}
        now, reads = self._clock(), NO_COUNTS
        months = [_reads_key(now), _reads_key(now.replace(day=1) - timedelta(days=1))]
        for item in self._table.get_many([*months, *map(_rhythm_key, kinds)]):
            if "hours" not in item:
                reads = reads.merged(_reads(item))
                continue
            name = item["name"].removeprefix(_rhythm_key("")["name"])
            kinds[name] = replace(
                kinds[name], hours=_hours(bytes(item["hours"])), evidence=float(item.get("evidence", 0))
            )
        return Fleet(kinds, reads)


def _rhythm_key(kind: str) -> Item:
    return control_key(f"rhythm {kind}")


def _reads_key(at: datetime) -> Item:
    return control_key(f"reads {month_of(at)}")


def _reads(item: Item) -> HourCounts:
    hours = {int(name.removeprefix(_HOUR)): float(n) for name, n in item.items() if name.startswith(_HOUR)}
    return HourCounts.of(hours)


def _hours(packed: bytes) -> HourCounts:
    numbers = _HOURS.unpack(packed)
    return HourCounts(numbers[:HOURS], numbers[HOURS:])


def _differs(known: Kind | None, added: Kind) -> bool:
    """Return whether a kind is new, or what is to be added to it would change it significantly."""
    if known is None:
        return True
    rate = known.rate.merged(added.rate)
    if rate.feeds >= 2 * known.rate.feeds or abs(rate.mean_log - known.rate.mean_log) >= SIGNIFICANT:
        return True
    return added.hours.weight >= max(SIGNIFICANT_CHANGES, SIGNIFICANT_SHARE * known.hours.weight)
