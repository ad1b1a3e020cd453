"""The last successful syncs of one row, of which it learns how often it changes, and how long a sync takes.

They are kept packed, as they are stored: a tick reads them of many rows, and looks into them of few.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from freshness.learning import Observation
from freshness.times import BEGINNING

KEPT = 32
LAST_KEPT = 16
"""How many of them are kept whatever they found: news of one that is older still is late by as many syncs."""
_SYNC = struct.Struct(">QBI")
_LONGEST = 2**32 - 1
"""Milliseconds, seven weeks: what took longer is told as that."""
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_A_DAY = timedelta(days=1) / _MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A successful sync that a webhook told of; `took` is from request to end, in milliseconds, where we saw both."""

    ended_at: datetime
    records_modified: bool
    took: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Syncs:
    """Syncs, oldest first, thirteen bytes each: a row with all of them stays below what one write unit pays for."""

    packed: bytes = b""

    @classmethod
    def of(cls, syncs: Iterable[Sync]) -> "Syncs":
        """So many syncs, oldest first."""
        return cls(b"".join(map(_packed, syncs)))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.packed) // _SYNC.size

    def __iter__(self) -> Iterator[Sync]:
        """Each of them."""
        for ended_at, records_modified, took in _SYNC.iter_unpack(self.packed):
            yield Sync(
                ended_at=BEGINNING + timedelta(microseconds=ended_at),
                records_modified=bool(records_modified),
                took=timedelta(milliseconds=took - 1) if took else None,
            )

    @property
    def times(self) -> list[timedelta]:
        """How long they took, the shortest first, as far as it is known."""
        known = sorted([took for _, _, took in _SYNC.iter_unpack(self.packed) if took])
        return [timedelta(milliseconds=took - 1) for took in known]

    @property
    def observations(self) -> Iterator[Observation]:
        """What each but the first told of how often the row changes."""
        for (before, _, _), (ended_at, records_modified, _) in pairwise(_SYNC.iter_unpack(self.packed)):
            yield Observation((ended_at - before) / _MICROSECONDS_A_DAY, bool(records_modified))


NO_SYNCS = Syncs()


def thinned(syncs: list[Sync]) -> list[Sync]:
    """What is kept of syncs, oldest first: all that were last, and of those before the ones that tell something.

    Of two syncs in a row that found nothing, the later one alone tells as much of how often the row changes: nothing
    did in all that time. So what is kept reaches far back where little happens, and news may still come in any order.
    """
    earlier, last = syncs[:-LAST_KEPT], syncs[-LAST_KEPT:]
    telling = [
        sync for sync, later in pairwise([*earlier, *last[:1]]) if sync.records_modified or later.records_modified
    ]
    return [*telling, *last][-KEPT:]


def _packed(sync: Sync) -> bytes:
    took = 0 if sync.took is None else min(round(sync.took / timedelta(milliseconds=1)) + 1, _LONGEST)
    return _SYNC.pack((sync.ended_at - BEGINNING) // _MICROSECOND, sync.records_modified, took)
