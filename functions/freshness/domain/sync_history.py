"""The last successful syncs of one feed, of which it learns how often it changes, and how long a sync takes.

They are kept packed, as they are stored: a tick reads them of many feeds, and looks into them of few.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, pairwise

from freshness.domain.change_rate import Observation
from freshness.domain.times import BEGINNING

KEPT = 32
LAST_KEPT = 16
"""How many of them are kept whatever they found: news of one that is older still is late by as many syncs."""
_SYNC = struct.Struct(">QBI")
_TOOK = struct.Struct(">9xI")
_LONGEST = 2**32 - 1
"""Milliseconds, seven weeks: what took longer is told as that."""
_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1) / _MICROSECOND

_Packed = tuple[int, bool, int]
"""Microseconds of the end, since `BEGINNING`; what it found; and milliseconds that it took and one, or 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A successful sync that a webhook told of; `took` is from request to end, in milliseconds, where we saw both."""

    ended_at: datetime
    records_modified: bool
    took: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SyncHistory:
    """Syncs, oldest first, 13 bytes each, so that a feed with all of them fits into one write unit."""

    packed: bytes = b""

    @classmethod
    def of(cls, syncs: Iterable[Sync]) -> "SyncHistory":
        """So many syncs, oldest first."""
        return cls._of([(_microseconds(sync.ended_at), sync.records_modified, _took(sync.took)) for sync in syncs])

    @classmethod
    def _of(cls, syncs: Sequence[_Packed]) -> "SyncHistory":
        return cls(struct.pack(">" + "QBI" * len(syncs), *chain.from_iterable(syncs)))

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
        known = sorted([took for (took,) in _TOOK.iter_unpack(self.packed) if took])
        return [timedelta(milliseconds=took - 1) for took in known]

    @property
    def observations(self) -> Iterator[Observation]:
        """What each but the first told of how often the feed changes."""
        for (before, _, _), (ended_at, records_modified, _) in pairwise(_SYNC.iter_unpack(self.packed)):
            yield Observation((ended_at - before) / _DAY, bool(records_modified))

    @property
    def thinned(self) -> "SyncHistory":
        """What is kept of them: all that were last, and of those before the ones that tell something.

        Of two syncs in a feed that found nothing, the later one alone tells as much of how often the feed changes:
        nothing did in all that time. So what is kept reaches far back where little happens, and news may still come
        in any order.
        """
        return self._of(_thinned(list(_SYNC.iter_unpack(self.packed))))

    def with_end(self, ended_at: datetime, records_modified: bool, requested_at: datetime | None) -> "SyncHistory":
        """What is kept of them after one is told to have ended, be it new or known, and when we asked for one last.

        Only the first end after the request is the end of what was requested, in whatever order they are told.
        """
        end = _microseconds(ended_at)
        known = {sync[0]: sync for sync in _SYNC.iter_unpack(self.packed)}
        _, modified, took = known.get(end, (end, False, 0))
        known[end] = (end, modified or records_modified, took)
        kept = _thinned(sorted(known.values()))
        if requested_at is None:
            return self._of(kept)
        asked = _microseconds(requested_at)
        first = bisect_right(kept, asked, key=lambda sync: sync[0])
        later = [(end, modified, 0) for end, modified, _ in kept[first:]]
        if later:
            end, modified, _ = later[0]
            later[0] = (end, modified, _took((end - asked) * _MICROSECOND))
        return self._of(kept[:first] + later)


NO_HISTORY = SyncHistory()


def _thinned(syncs: list[_Packed]) -> list[_Packed]:
    earlier, last = syncs[:-LAST_KEPT], syncs[-LAST_KEPT:]
    telling = [sync for sync, later in pairwise([*earlier, *last[:1]]) if sync[1] or later[1]]
    return [*telling, *last][-KEPT:]


def _microseconds(time: datetime) -> int:
    return (time - BEGINNING) // _MICROSECOND


def _took(took: timedelta | None) -> int:
    return 0 if took is None else min(round(took / _MILLISECOND) + 1, _LONGEST)
