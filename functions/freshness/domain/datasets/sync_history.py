"""The last syncs of one feed: how long they took, what they found, and so how often the data changes.

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
"""Flags of a sync: it found changes; whether it did is unknown; it failed; a poll reported when it ended; and when it
was requested.

They are plain numbers: operations on `enum.IntFlag` take thirty times as long, and a tick decodes 100,000 histories.
"""
LONGEST = 2**32 - 1
"""Milliseconds, seven weeks: the longest duration that is stored."""
PER_MILLISECOND = 1000
KEPT = 32
LAST_KEPT = 16
"""How many of the last syncs are kept whatever they found: a fact may arrive that many syncs late."""
LONGEST_SYNC = timedelta(minutes=30)
"""Longer durations include waiting, perhaps for a customer's own machine, and are not used."""
OUTLIER = 4
"""In a small sample, a duration that is this many times the median is ignored."""
SMALL_SAMPLE = 10
_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_SYNC = LONGEST_SYNC // _MILLISECOND + 1
_DAY = timedelta(days=1) / _MICROSECOND
END_TOLERANCE = SAME_END // _MICROSECOND
READ_TOLERANCE = SAME_READ // _MICROSECOND
"""`SAME_END` and `SAME_READ` in microseconds."""

Row = tuple[int, int, int]
"""Microseconds of the end since `BEGINNING`; flags; and the duration in milliseconds plus one, or 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A sync that ended. `records_modified` is `None` where unknown; `took` is from its request to its end."""

    ended_at: datetime
    records_modified: bool | None
    succeeded: bool = True
    took: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SyncHistory:
    """Syncs, oldest first, in numbers: a tick reads 100,000 histories, and times in full take ten times as long."""

    rows: Sequence[Row] = ()

    @classmethod
    def of(cls, syncs: Iterable[Sync]) -> "SyncHistory":
        """Return a history of these syncs, which are given oldest first."""
        return cls(
            tuple(
                (_microseconds(s.ended_at), _flags(s.records_modified, s.succeeded), _duration(s.took)) for s in syncs
            )
        )

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Sync]:
        """Yield each of them, oldest first."""
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
        measured = sorted(took for *_, took in self.rows if 0 < took <= _LONGEST_SYNC)
        return [(took - 1) * _MILLISECOND for took in measured]

    @property
    def last_success(self) -> Sync | None:
        """Return the latest sync that succeeded, if there is one."""
        return next((sync for sync in reversed(list(self)) if sync.succeeded), None)

    @property
    def first_success(self) -> datetime | None:
        """Return when the oldest of the successes ended, if there is one."""
        return next((_time(ended_at) for ended_at, flags, _ in self.rows if not flags & FAILED), None)

    @property
    def last_successes(self) -> list[datetime]:
        """Return when the successes among the last syncs ended: between two of these there was no other."""
        last = self.rows[-LAST_KEPT:]
        return [_time(ended_at) for ended_at, flags, _ in last if not flags & FAILED]

    @property
    def unchanged_since(self) -> datetime | None:
        """Return since when all successes are known to have found nothing; `None` if the last is not.

        That is the end of the last success that found a change, or may have; or else of the first that is known.
        """
        since = None
        succeeded = [sync for sync in self.rows if not sync[1] & FAILED]
        for (before, *_), (_, flags, _) in pairwise(succeeded):
            found_nothing = not flags & (MODIFIED | UNKNOWN)
            since = (since or before) if found_nothing else None
        return None if since is None else _time(since)

    def observations(self) -> Iterator[Observation]:
        """Yield what each success but the first showed of how often the data changes, where that is known."""
        succeeded = (sync for sync in self.rows if not sync[1] & FAILED)
        for (before, *_), (ended_at, flags, _) in pairwise(succeeded):
            if not flags & UNKNOWN:
                yield Observation((ended_at - before) / _DAY, bool(flags & MODIFIED))

    def has_success_at(self, at: datetime, *, polled: bool) -> bool:
        """Return whether a success is known that is the one reported for `at`, by a poll or by a webhook.

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
        """Return when the known sync ended that a webhook dated `at` reports again; `None` if there is none.

        A webhook names no dataset. It is about a known end of up to `SAME_END` before if that was polled, or if the
        latest request is between the two: then it must not end what was requested.
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
        """Return when the success that ended at a time, or nearly then, was requested, to the millisecond.

        Return `None` if that was not measured.
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
        """Return the history after an end, whether it was known or not.

        An end that was `polled` replaces one that a webhook reported for nearly the same time, and keeps what that
        found.

        `requested_at` is the time of the latest request. The first end after it is the end of what was requested, and
        alone has a duration, in whatever order ends are added. It has none if it is not `measured`: then only an upper
        bound of `requested_at` is known. `began_at` is when this very sync was requested, if Codat said so.

        Of two syncs in a row that found nothing, the later alone shows as much. So these of the older syncs are kept:
        the first, those that found something, and the one before each.
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
        """Return the history after the latest request became known, whose end may be known already."""
        rows = tuple(_with_durations(list(self.rows), _microseconds(at), measured))
        return self if rows == tuple(self.rows) else SyncHistory(rows)

    def first_after(self, at: datetime) -> Sync | None:
        """Return the first sync that ended after a time, if there is one."""
        return next((sync for sync in self if sync.ended_at > at), None)


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


def _with_durations(syncs: list[Row], requested: int, measured: bool) -> list[Row]:
    """Give the first sync that ended after the latest request its duration, and later ones none.

    That first one is the end of what was requested: its duration is from the request to its end. It has none if it
    failed, or if the time of the request was not `measured`. Where Codat said when a sync was requested, that counts.
    """
    first = bisect_right(syncs, requested, key=lambda sync: sync[0])
    later = [(end, flags, took if flags & MEASURED else 0) for end, flags, took in syncs[first:]]
    if later and measured and not later[0][1] & (FAILED | MEASURED):
        end, flags, _ = later[0]
        later[0] = (end, flags, _duration_between(requested, end))
    return syncs[:first] + later


def _trimmed(syncs: list[Row]) -> list[Row]:
    """Return the last syncs, and of those before them the first success, and those that found something.

    Each of the latter is kept with the one before.
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
    """Return a duration whose difference to the end, both in whole milliseconds, is the time of the request."""
    return min(end // PER_MILLISECOND - requested // PER_MILLISECOND + 1, LONGEST)


def _duration(took: timedelta | None) -> int:
    return 0 if took is None else min(round(took / _MILLISECOND) + 1, LONGEST)


def _without_doubles(syncs: list[Row]) -> list[Row]:
    """Return the syncs without those that were reported twice.

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
    """Return the nearest of sorted ends that is at most `SAME_END` apart."""
    index = bisect_left(ends, end)
    near = [each for each in ends[max(index - 1, 0) : index + 1] if abs(each - end) <= END_TOLERANCE]
    return min(near, key=lambda each: abs(each - end), default=None)


def _merged(before: int, flags: int) -> int:
    """Return the flags of one end that was reported twice: success, modification and a poll win.

    A webhook that does not say whether records were modified reports a first read: no other webhook can know it either.
    """
    modified = (before | flags) & MODIFIED
    unknown = before & flags & UNKNOWN
    if not modified and any((each & (UNKNOWN | POLLED)) == UNKNOWN for each in (before, flags)):
        unknown = UNKNOWN
    return modified | unknown | (before & flags & FAILED) | ((before | flags) & (POLLED | MEASURED))
