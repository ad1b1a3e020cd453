"""The last syncs of one feed: how long they took, what they found, and so how often the data changes.

They are kept packed, as they are stored: a tick reads many histories and decodes few.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, pairwise

from freshness.domain.change_rate import Observation
from freshness.domain.times import BEGINNING
from freshness.domain.value import value

KEPT = 32
LAST_KEPT = 16
"""How many of the last syncs are kept whatever they found: a fact may arrive that many syncs late."""
LONGEST_SYNC = timedelta(minutes=30)
"""Longer durations include waiting, perhaps for a customer's own machine, and are not used."""
SAME_END = timedelta(seconds=30)
"""How far apart two reports of the same end may be: a webhook is generated a moment after the sync completed."""
SAME_READ = timedelta(seconds=1)
"""How far apart two webhooks about the same read may be generated: reads of one feed are further apart."""
OUTLIER = 4
"""In a small sample, a duration that is this many times the median is ignored."""
SMALL_SAMPLE = 10
_SYNC = struct.Struct(">QBI")
_MODIFIED, _UNKNOWN, _FAILED, _POLLED = 1, 2, 4, 8
"""Flags of a sync: it found changes; whether it did is unknown; it failed; a poll reported it, not a webhook.

They are plain numbers: operations on `enum.IntFlag` take thirty times as long, and a tick decodes 100,000 histories.
"""
_LONGEST = 2**32 - 1
"""Milliseconds, seven weeks: the longest duration that is stored."""
_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_PER_MILLISECOND = 1000
_LONGEST_SYNC = LONGEST_SYNC // _MILLISECOND + 1
_DAY = timedelta(days=1) / _MICROSECOND
_SAME_END = SAME_END // _MICROSECOND
_SAME_READ = SAME_READ // _MICROSECOND

_Packed = tuple[int, int, int]
"""Microseconds of the end since `BEGINNING`; flags; and the duration in milliseconds plus one, or 0."""


@value
class Sync:
    """A sync that ended. `records_modified` is `None` where unknown; `took` is from its request to its end."""

    ended_at: datetime
    records_modified: bool | None
    succeeded: bool = True
    took: timedelta | None = None


@value(kw_only=False)
class SyncHistory:
    """Syncs, oldest first, 13 bytes each, so that a feed with all of them fits into one write unit."""

    packed: bytes = b""

    @classmethod
    def of(cls, syncs: Iterable[Sync]) -> "SyncHistory":
        """Return a history of these syncs, which are given oldest first."""
        return cls._of(
            [(_microseconds(s.ended_at), _flags(s.records_modified, s.succeeded), _duration(s.took)) for s in syncs]
        )

    @classmethod
    def _of(cls, syncs: Sequence[_Packed]) -> "SyncHistory":
        return cls(struct.pack(">" + "QBI" * len(syncs), *chain.from_iterable(syncs)))

    def _unpacked(self) -> Iterator[_Packed]:
        return _SYNC.iter_unpack(self.packed)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.packed) // _SYNC.size

    def __iter__(self) -> Iterator[Sync]:
        """Yield each of them, oldest first."""
        for ended_at, flags, took in self._unpacked():
            yield Sync(
                ended_at=_time(ended_at),
                records_modified=None if flags & _UNKNOWN else bool(flags & _MODIFIED),
                succeeded=not flags & _FAILED,
                took=timedelta(milliseconds=took - 1) if took else None,
            )

    @property
    def durations(self) -> list[timedelta]:
        """Return the measured durations up to `LONGEST_SYNC`, shortest first."""
        measured = sorted(took for *_, took in self._unpacked() if 0 < took <= _LONGEST_SYNC)
        return [(took - 1) * _MILLISECOND for took in measured]

    @property
    def last_success(self) -> Sync | None:
        """Return the latest sync that succeeded, if there is one."""
        return next((sync for sync in reversed(list(self)) if sync.succeeded), None)

    @property
    def first_success(self) -> datetime | None:
        """Return when the oldest of the successes ended, if there is one."""
        return next((_time(ended_at) for ended_at, flags, _ in self._unpacked() if not flags & _FAILED), None)

    @property
    def last_successes(self) -> list[datetime]:
        """Return when the successes among the last syncs ended: between two of these there was no other."""
        last = list(self._unpacked())[-LAST_KEPT:]
        return [_time(ended_at) for ended_at, flags, _ in last if not flags & _FAILED]

    @property
    def unchanged_since(self) -> datetime | None:
        """Return since when all successes are known to have found nothing; `None` if the last is not.

        That is the end of the last success that found a change, or may have; or else of the first that is known.
        """
        since = None
        succeeded = [sync for sync in self._unpacked() if not sync[1] & _FAILED]
        for (before, *_), (_, flags, _) in pairwise(succeeded):
            found_nothing = not flags & (_MODIFIED | _UNKNOWN)
            since = (since or before) if found_nothing else None
        return None if since is None else _time(since)

    def observations(self) -> Iterator[Observation]:
        """Yield what each success but the first showed of how often the data changes, where that is known."""
        succeeded = (sync for sync in self._unpacked() if not sync[1] & _FAILED)
        for (before, *_), (ended_at, flags, _) in pairwise(succeeded):
            if not flags & _UNKNOWN:
                yield Observation((ended_at - before) / _DAY, bool(flags & _MODIFIED))

    def has_success_at(self, at: datetime, *, polled: bool) -> bool:
        """Return whether a success is known that is the one reported for `at`, by a poll or by a webhook.

        One from before the last `LAST_KEPT` syncs counts as known, since not all of those are kept.
        """
        reported, syncs = _microseconds(at), list(self._unpacked())
        if len(syncs) >= LAST_KEPT and reported < syncs[-LAST_KEPT][0]:
            return True
        return any(
            abs(ended_at - reported) <= (_SAME_END if polled or flags & _POLLED else _SAME_READ)
            for ended_at, flags, _ in syncs
            if not flags & _FAILED
        )

    def requested_at(self, ended_at: datetime) -> datetime | None:
        """Return when the success that ended at a time, or nearly then, was requested, to the millisecond.

        Return `None` if that was not measured.
        """
        end = _microseconds(ended_at)
        near = (sync for sync in self._unpacked() if abs(sync[0] - end) <= _SAME_END and not sync[1] & _FAILED)
        found, _, took = min(near, key=lambda sync: (abs(sync[0] - end), sync), default=(0, 0, 0))
        if not took or took == _LONGEST:
            return None
        return BEGINNING + (found // _PER_MILLISECOND - (took - 1)) * _MILLISECOND

    def with_end(
        self,
        ended_at: datetime,
        records_modified: bool | None,
        *,
        succeeded: bool,
        requested_at: datetime | None,
        measured: bool = True,
        polled: bool = False,
    ) -> "SyncHistory":
        """Return the history after an end, whether it was known or not.

        An end that was `polled` is replaced by one that a webhook reported for nearly the same time, with what that
        found.

        `requested_at` is that of the latest request: only the first end after it is the end of what was requested, so
        only that end has a duration, in whatever order the ends are added; it has none either if it is not `measured`,
        because only an upper bound of `requested_at` is known.

        Of two syncs in a row that found nothing, the later alone shows as much, so of the older syncs only those that
        found something are kept, the one before each, and the first.
        """
        end = _microseconds(ended_at)
        known = {sync[0]: sync for sync in self._unpacked()}
        flags = _flags(records_modified, succeeded) | (_POLLED if polled else 0)
        _, flags_before, took = known.get(end, (end, flags, 0))
        known[end] = (end, _merged(flags_before, flags), took)
        kept = _trimmed(_without_doubles(sorted(known.values())))
        if requested_at is not None:
            kept = _with_durations(kept, _microseconds(requested_at), measured)
        return self._of(kept)


NO_HISTORY = SyncHistory()


def usual_duration(durations: Sequence[timedelta], expected: timedelta | None, percent: int = 90) -> timedelta | None:
    """Return how long this share of syncs takes at most; `None` if nothing is known.

    `durations` are sorted. `expected`, where it is known, counts as one more of a small sample, in which outliers are
    ignored: one wrong measurement must not decide.
    """
    if len(durations) >= SMALL_SAMPLE:
        return durations[len(durations) * percent // 100]
    sample = [*durations, *([expected] if expected else [])]
    if not sample:
        return None
    limit = OUTLIER * sorted(sample)[(len(sample) - 1) // 2]
    return max((took for took in durations if took <= limit), default=expected)


def _with_durations(syncs: list[_Packed], requested: int, measured: bool) -> list[_Packed]:
    """Return the syncs with the duration of the first that ended after the latest request; later ones have none.

    That first one is the end of what was requested: its duration is from the request to its end. It has none if it
    failed, or if the time of the request was not `measured`.
    """
    first = bisect_right(syncs, requested, key=lambda sync: sync[0])
    later = [(end, flags, 0) for end, flags, _ in syncs[first:]]
    if later and measured and not later[0][1] & _FAILED:
        end, flags, _ = later[0]
        later[0] = (end, flags, _duration_between(requested, end))
    return syncs[:first] + later


def _without_doubles(syncs: list[_Packed]) -> list[_Packed]:
    """Return the syncs without the successes that were reported twice.

    | two records of successes | are the same sync if they are apart by | kept |
    | --- | --- | --- |
    | by two webhooks | `SAME_READ` or less | the later |
    | by a poll and a webhook | `SAME_END` or less | the webhook's |
    | by two polls | no time: a poll repeats the same end | one (`SyncHistory.with_end`) |

    Failures are all kept.
    """
    by_webhook = [sync[0] for sync in syncs if not sync[1] & (_POLLED | _FAILED)]
    replaced = {end for end, later in pairwise(by_webhook) if later - end <= _SAME_READ}
    kept = [end for end in by_webhook if end not in replaced]

    def is_kept(sync: _Packed) -> bool:
        end, flags, _ = sync
        if flags & _FAILED:
            return True
        if not flags & _POLLED:
            return end not in replaced
        index = bisect_left(kept, end - _SAME_END)
        return index == len(kept) or kept[index] > end + _SAME_END

    return [sync for sync in syncs if is_kept(sync)]


def _trimmed(syncs: list[_Packed]) -> list[_Packed]:
    """Return the last syncs, and of those before them the first success, and those that found something.

    Each of the latter is kept with the one before.
    """
    earlier, last = syncs[:-LAST_KEPT], syncs[-LAST_KEPT:]
    earlier = [sync for sync in earlier if not sync[1] & _FAILED]
    pairs = pairwise([*earlier, *last[:1]])
    kept = [sync for sync, later in pairs if sync is earlier[0] or (sync[1] | later[1]) & ~_POLLED]
    return [*kept, *last][-KEPT:]


def _flags(records_modified: bool | None, succeeded: bool) -> int:
    unknown = _UNKNOWN if records_modified is None else 0
    return (_MODIFIED if records_modified else 0) | unknown | (0 if succeeded else _FAILED)


def _merged(before: int, flags: int) -> int:
    """Return the flags of one end that was reported twice: success, modification and a webhook win.

    A webhook that leaves unknown whether records were modified is that of a first read: another one cannot know either.
    """
    modified = (before | flags) & _MODIFIED
    unknown = before & flags & _UNKNOWN
    if not modified and any((each & (_UNKNOWN | _POLLED)) == _UNKNOWN for each in (before, flags)):
        unknown = _UNKNOWN
    return modified | unknown | (before & flags & (_FAILED | _POLLED))


def _time(microseconds: int) -> datetime:
    return BEGINNING + timedelta(microseconds=microseconds)


def _microseconds(time: datetime) -> int:
    return (time - BEGINNING) // _MICROSECOND


def _duration_between(requested: int, end: int) -> int:
    """Return a duration whose difference to the end, both in whole milliseconds, is the time of the request."""
    return min(end // _PER_MILLISECOND - requested // _PER_MILLISECOND + 1, _LONGEST)


def _duration(took: timedelta | None) -> int:
    return 0 if took is None else min(round(took / _MILLISECOND) + 1, _LONGEST)
