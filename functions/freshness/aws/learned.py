"""What was learned of the fleet, in the control table: an item with the rates of all kinds, and one for each rhythm."""

import math
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from pydantic import TypeAdapter

from freshness.aws.control import control_key
from freshness.aws.item_codec import Item
from freshness.aws.table import Table
from freshness.domain.fleet import Fleet, Kind, KindRate, Lesson
from freshness.domain.rhythm import HOURS, HourCounts

REREAD = 3600.0
"""Seconds after which a process reads again what other processes learned too."""
SIGNIFICANT = math.log(1.1)
"""The change of a rate's logarithm that is worth writing it: a tenth. Each feed's own rate is less precise."""
SIGNIFICANT_SHARE, SIGNIFICANT_CHANGES = 0.01, 20.0
"""How many more expected changes make a rhythm worth writing: as a share of those counted, and at least."""

_RATES = TypeAdapter(dict[str, KindRate])
_HOURS = struct.Struct(f">{2 * HOURS}e")
"""Half floats, so that a rhythm fits into one write unit."""


class Learned:
    """The repository of what was learned of the fleet. Several processes may add to it: each value is a sum of many."""

    def __init__(self, table: Table, seconds: Callable[[], float] = time.monotonic) -> None:
        """Create the repository. `seconds` is a clock that is never set back."""
        self._table = table
        self._seconds = seconds
        self._read = Fleet()
        self._read_at: float | None = None
        self._unwritten = Fleet()

    def fleet(self) -> Fleet:
        """Return what was learned. A process reads it once an hour."""
        if self._read_at is None or self._read_at + REREAD <= self._seconds():
            self._read, self._read_at = self._stored(), self._seconds()
        return self._read.merged(self._unwritten)

    def add(self, lessons: Iterable[Lesson]) -> None:
        """Add lessons. What they show of a kind is written once it differs significantly from what the table has."""
        self._unwritten = self._unwritten.merged(self.fleet().learned(lessons))
        changed = {
            name: kind for name, kind in self._unwritten.kinds.items() if _differs(self._read.kinds.get(name), kind)
        }
        if changed:
            self._write(changed)

    def _write(self, changed: dict[str, Kind]) -> None:
        """Add to what the table has by now."""
        stored = self._stored()
        self._read, self._read_at = stored.merged(Fleet(changed)), self._seconds()
        kept = self._unwritten.kinds.items()
        self._unwritten = Fleet({name: kind for name, kind in kept if name not in changed})
        rates = {name: kind.rate for name, kind in self._read.kinds.items()}
        self._table.put_always(control_key("fleet rates") | {"rates": _RATES.dump_json(rates).decode()})
        for name in changed:
            hours = self._read.kinds[name].hours
            if hours.weight:
                packed = _HOURS.pack(*hours.changes, *hours.expected)
                self._table.put_always(_rhythm_key(name) | {"hours": packed})

    def _stored(self) -> Fleet:
        item = self._table.get(control_key("fleet rates"))
        if item is None:
            return Fleet()
        kinds = {name: Kind(rate) for name, rate in _RATES.validate_json(item["rates"]).items()}
        for item in self._table.get_many([_rhythm_key(name) for name in kinds]):
            name = item["name"].removeprefix(_rhythm_key("")["name"])
            kinds[name] = replace(kinds[name], hours=_hours(bytes(item["hours"])))
        return Fleet(kinds)


def _rhythm_key(kind: str) -> Item:
    return control_key(f"rhythm {kind}")


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
