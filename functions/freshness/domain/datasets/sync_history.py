"""The last syncs of one feed: when each ended, how long it took, and whether it found changes.

A sync may be reported several times: by a poll, and by webhooks in several forms.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from freshness.domain.learned.change_rate import Observation
from freshness.domain.times import BEGINNING

SAME_END = timedelta(seconds=30)
"""How far apart two reports of the same end may be: a webhook is generated up to this long after the sync completed."""
SAME_READ = timedelta(seconds=1)
"""How far apart two webhooks about the same read may be generated: reads of one feed are further apart."""
MODIFIED, UNKNOWN, FAILED, POLLED, MEASURED = 1, 2, 4, 8, 16
"""Flags of a sync.

- `MODIFIED`: it found changes.
- `UNKNOWN`: whether it found changes is unknown.
- `FAILED`: it failed.
- `POLLED`: a poll reported its end.
- `MEASURED`: a poll showed when it was requested.

They are plain numbers: operations on `enum.IntFlag` take thirty times as long, and a tick decodes 100,000 histories.
"""
LONGEST = 2**32 - 1
"""Milliseconds, seven weeks: the longest duration that is stored."""
PER_MILLISECOND = 1000
KEPT = 32
LAST_KEPT = 16
"""How many of the last syncs are kept whatever they found: a fact may arrive that many syncs late."""
LONGEST_SYNC = timedelta(minutes=30)
"""Longer durations are not used: they include waiting, perhaps for a customer's own machine."""
OUTLIER = 4
"""In a small sample, a duration of more than this many times the median is ignored."""
SMALL_SAMPLE = 10
_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_SYNC = LONGEST_SYNC // _MILLISECOND + 1
_DAY = timedelta(days=1) / _MICROSECOND
END_TOLERANCE = SAME_END // _MICROSECOND
READ_TOLERANCE = SAME_READ // _MICROSECOND
"""`SAME_END` and `SAME_READ` in microseconds."""

Row = tuple[int, int, int]
"""A sync: its end in microseconds since `BEGINNING`, its flags, and its duration in milliseconds plus one (0:
unknown)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A sync that ended. `records_modified` is `None` where unknown; `took` is from its request to its end."""

    ended_at: datetime
    records_modified: bool | None
    succeeded: bool = True
    took: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SyncHistory:
    """Syncs, oldest first, as rows of numbers: a tick reads 100,000 histories, and times take ten times as long."""

    rows: Sequence[Row] = ()

    @classmethod
    def of(cls, syncs: Iterable[Sync]) -> "SyncHistory":
        """Return the history of syncs that are given oldest first."""
        return cls(
            tuple(
                (_microseconds(s.ended_at), _flags(s.records_modified, s.succeeded), _duration(s.took)) for s in syncs
            )
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Sync]:
        """Yield the syncs, oldest first."""
        for ended_at, flags, took in self.rows:
            yield Sync(
                ended_at=_time(ended_at),
                records_modified=None if flags & UNKNOWN else bool(flags & MODIFIED),
                succeeded=not flags & FAILED,
                took=timedelta(milliseconds=took - 1) if took else None,
            )

    @property
    def durations(self) -> list[timedelta]:
        """Return the measured durations up to `LONGEST_SYNC`, shortest first."""
        measured = sorted([took for _, _, took in self.rows if 0 < took <= _LONGEST_SYNC])
        return [(took - 1) * _MILLISECOND for took in measured]

    @property
    def last_success(self) -> Sync | None:
        return next((sync for sync in reversed(list(self)) if sync.succeeded), None)

    @property
    def first_success(self) -> datetime | None:
        """Return when the oldest known success ended; `None` if there is none."""
        return next((_time(ended_at) for ended_at, flags, _ in self.rows if not flags & FAILED), None)

    @property
    def last_successes(self) -> list[datetime]:
        """Return the ends of successes among the last `LAST_KEPT` syncs, oldest first. None in between is left out."""
        last = self.rows[-LAST_KEPT:]
        return [_time(ended_at) for ended_at, flags, _ in last if not flags & FAILED]

    @property
    def unchanged_since(self) -> datetime | None:
        """Return since when no success has found changes; `None` if the last one did or may have, or is the only one.

        That is the end of the last success that found changes or may have, or else of the oldest known success.
        """
        since = None
        succeeded = [sync for sync in self.rows if not sync[1] & FAILED]
        for (before, *_), (_, flags, _) in pairwise(succeeded):
            found_nothing = not flags & (MODIFIED | UNKNOWN)
            since = (since or before) if found_nothing else None
        return None if since is None else _time(since)

    def observations(self) -> Iterator[Observation]:
        """Yield for each success whether the data had changed since the one before, if that is known."""
        succeeded = (sync for sync in self.rows if not sync[1] & FAILED)
        for (before, *_), (ended_at, flags, _) in pairwise(succeeded):
            if not flags & UNKNOWN:
                yield Observation((ended_at - before) / _DAY, bool(flags & MODIFIED))

    def has_success_at(self, at: datetime, *, polled: bool) -> bool:
        """Return whether the success that a poll or a webhook reported for `at` is known already.

        One from before the last `LAST_KEPT` syncs counts as known, since not all of those are kept.
        """
        reported, syncs = _microseconds(at), self.rows
        if len(syncs) >= LAST_KEPT and reported < syncs[-LAST_KEPT][0]:
            return True
        return any(
            abs(ended_at - reported) <= (END_TOLERANCE if polled or flags & POLLED else READ_TOLERANCE)
            for ended_at, flags, _ in syncs
            if not flags & FAILED
        )

    def reported_again(self, at: datetime, *, succeeded: bool, requested_at: datetime | None) -> datetime | None:
        """Return the end of the known sync that a webhook dated `at` reports again; `None` if it reports a new one.

        This goes by times alone: few webhooks name their dataset. A known sync counts if it ended within `SAME_END` of
        `at`, succeeded or failed alike, and a poll reported its end. It also counts if the latest request came between
        its end and `at`: the webhook must not end what was requested.
        """
        reported = _microseconds(at)
        requested = reported + 1 if requested_at is None else _microseconds(requested_at)
        near = [
            end
            for end, flags, _ in self.rows
            if abs(end - reported) <= END_TOLERANCE
            and bool(flags & FAILED) != succeeded
            and (flags & POLLED or end < requested <= reported)
        ]
        found = min(near, key=lambda end: (abs(end - reported), end), default=None)
        return None if found is None else _time(found)

    def requested_at(self, ended_at: datetime) -> datetime | None:
        """Return when the success that ended nearest to `ended_at` was requested, to the millisecond.

        Return `None` if no success ended within `SAME_END` of it, or if its duration is unknown.
        """
        end = _microseconds(ended_at)
        near = (sync for sync in self.rows if abs(sync[0] - end) <= END_TOLERANCE and not sync[1] & FAILED)
        found, _, took = min(near, key=lambda sync: (abs(sync[0] - end), sync), default=(0, 0, 0))
        if not took or took == LONGEST:
            return None
        return BEGINNING + (found // PER_MILLISECOND - (took - 1)) * _MILLISECOND

    def with_end(
        self,
        ended_at: datetime,
        records_modified: bool | None,
        *,
        succeeded: bool,
        requested_at: datetime | None,
        measured: bool = True,
        polled: bool = False,
        began_at: datetime | None = None,
    ) -> "SyncHistory":
        """Return the history with a sync that ended at `ended_at`, which may be known already.

        A `polled` end replaces one that a webhook reported for nearly the same time, and keeps whether that found
        changes.

        `requested_at` is the time of the latest request, exact if `measured`, else an upper bound. The first end after
        it is that request's, in whatever order ends are added: its duration is the time between them, if that is exact.
        Later ends have no duration. `began_at` is when this very sync was requested, if a poll showed that.

        Of the syncs before the last `LAST_KEPT`, only these are kept: the first success, those that found changes, and
        the success before each of those. Of two in a row that found nothing, the later shows as much alone.
        """
        end = _microseconds(ended_at)
        known = {sync[0]: sync for sync in self.rows}
        flags = _flags(records_modified, succeeded) | (POLLED if polled else 0)
        _, flags_before, took = known.get(end, (end, flags, 0))
        if began_at is not None:
            flags |= MEASURED
            took = _duration_between(_microseconds(began_at), end)
        known[end] = (end, _merged(flags_before, flags), took)
        kept = _trimmed(_without_doubles(sorted(known.values())))
        if requested_at is not None:
            kept = _with_durations(kept, _microseconds(requested_at), measured)
        return SyncHistory(tuple(kept))

    def with_request(self, at: datetime, *, measured: bool) -> "SyncHistory":
        """Return the history after a request, made at `at`, became known. Its end may be known already."""
        rows = tuple(_with_durations(list(self.rows), _microseconds(at), measured))
        return self if rows == tuple(self.rows) else SyncHistory(rows)

    def first_after(self, at: datetime) -> Sync | None:
        return next((sync for sync in self if sync.ended_at > at), None)


NO_HISTORY = SyncHistory()


def usual_duration(durations: Sequence[timedelta], expected: timedelta | None, percent: int = 90) -> timedelta | None:
    """Return how long `percent` percent of syncs take at most; `None` if nothing is known.

    `durations` are sorted. Of fewer than `SMALL_SAMPLE`, return the longest that is no outlier, or `expected` if there
    is none: one wrong measurement must not decide.
    """
    if len(durations) >= SMALL_SAMPLE:
        return durations[len(durations) * percent // 100]
    sample = [*durations, *([expected] if expected else [])]
    if not sample:
        return None
    limit = OUTLIER * sorted(sample)[(len(sample) - 1) // 2]
    return max((took for took in durations if took <= limit), default=expected)


def _with_durations(syncs: list[Row], requested: int, measured: bool) -> list[Row]:
    """Set the durations of the syncs that ended after the latest request.

    The first sync ended the request. Its duration is the time from the request to its end, unless it failed or the
    time of the request was not `measured`. Later syncs get no duration. A duration from Codat's own times is kept.
    """
    first = bisect_right(syncs, requested, key=lambda sync: sync[0])
    later = [(end, flags, took if flags & MEASURED else 0) for end, flags, took in syncs[first:]]
    if later and measured and not later[0][1] & (FAILED | MEASURED):
        end, flags, _ = later[0]
        later[0] = (end, flags, _duration_between(requested, end))
    return syncs[:first] + later


def _trimmed(syncs: list[Row]) -> list[Row]:
    """Return the last `LAST_KEPT` syncs, and the older ones that show more, `KEPT` in all at most.

    These are the first success, those that found changes or may have, and the success before each of those.
    """
    earlier, last = syncs[:-LAST_KEPT], syncs[-LAST_KEPT:]
    earlier = [sync for sync in earlier if not sync[1] & FAILED]
    pairs = pairwise([*earlier, *last[:1]])
    kept = [sync for sync, later in pairs if sync is earlier[0] or (sync[1] | later[1]) & ~(POLLED | MEASURED)]
    return [*kept, *last][-KEPT:]


def _flags(records_modified: bool | None, succeeded: bool) -> int:
    unknown = UNKNOWN if records_modified is None else 0
    return (MODIFIED if records_modified else 0) | unknown | (0 if succeeded else FAILED)


def _time(microseconds: int) -> datetime:
    return BEGINNING + timedelta(microseconds=microseconds)


def _microseconds(time: datetime) -> int:
    return (time - BEGINNING) // _MICROSECOND


def _duration_between(requested: int, end: int) -> int:
    """Return the time from a request to an end, in milliseconds plus one, at most `LONGEST`.

    Both are cut to whole milliseconds first: the end minus the duration is then the request, to the millisecond.
    """
    return min(end // PER_MILLISECOND - requested // PER_MILLISECOND + 1, LONGEST)


def _duration(took: timedelta | None) -> int:
    return 0 if took is None else min(round(took / _MILLISECOND) + 1, LONGEST)


def _without_doubles(syncs: list[Row]) -> list[Row]:
    """Merge the syncs that were reported twice.

    | two records of successes, or of failures | are the same sync if they are apart by | kept |
    | --- | --- | --- |
    | by two webhooks | `SAME_READ` or less, if they succeeded | the later |
    | by a poll and a webhook | `SAME_END` or less | the poll's, which is exact, with what the webhook found |
    | by two polls | no time: a poll repeats the same end | one (`SyncHistory.with_end`) |
    """
    by_webhook = [sync[0] for sync in syncs if not sync[1] & (POLLED | FAILED)]
    replaced = {end for end, later in pairwise(by_webhook) if later - end <= READ_TOLERANCE}
    polled = {
        failed: [sync[0] for sync in syncs if sync[1] & (POLLED | FAILED) == POLLED | failed] for failed in (0, FAILED)
    }
    kept: dict[int, Row] = {}
    doubles: list[tuple[int, Row]] = []
    for sync in syncs:
        end, flags, _ = sync
        exact = None if flags & POLLED else _nearest(polled[flags & FAILED], end)
        if exact is not None:
            doubles.append((exact, sync))
        elif end not in replaced:
            kept[end] = sync
    for exact, (end, flags, took) in doubles:
        _, known, measured = kept[exact]
        if took and took != LONGEST:
            took = max(took - (end - exact) // PER_MILLISECOND, 1)
        kept[exact] = (exact, _merged(known, flags), measured or took)
    return sorted(kept.values())


def _nearest(ends: list[int], end: int) -> int | None:
    """Return which of sorted ends is nearest to `end`; `None` if none is within `SAME_END`."""
    index = bisect_left(ends, end)
    near = [each for each in ends[max(index - 1, 0) : index + 1] if abs(each - end) <= END_TOLERANCE]
    return min(near, key=lambda each: abs(each - end), default=None)


def _merged(before: int, flags: int) -> int:
    """Merge the flags of two reports of the same end.

    It succeeded, found changes or was polled if either report says so. A webhook that does not say whether records were
    modified reports a first read. No other webhook can know it either: it stays unknown unless one says that records
    were modified.
    """
    modified = (before | flags) & MODIFIED
    unknown = before & flags & UNKNOWN
    if not modified and any((each & (UNKNOWN | POLLED)) == UNKNOWN for each in (before, flags)):
        unknown = UNKNOWN
    return modified | unknown | (before & flags & FAILED) | ((before | flags) & (POLLED | MEASURED))
