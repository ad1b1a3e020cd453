"""Which records of ends are about the same sync: a sync may be reported by a poll, and by webhooks in several forms.

Records are rows of `freshness.domain.datasets.sync_history`.
"""

from bisect import bisect_left
from datetime import timedelta
from itertools import pairwise

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
_MICROSECOND = timedelta(microseconds=1)
END_TOLERANCE = SAME_END // _MICROSECOND
READ_TOLERANCE = SAME_READ // _MICROSECOND
"""`SAME_END` and `SAME_READ` in microseconds."""

Row = tuple[int, int, int]
"""Microseconds of the end since `BEGINNING`; flags; and the duration in milliseconds plus one, or 0."""


def without_doubles(syncs: list[Row]) -> list[Row]:
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
        kept[exact] = (exact, merged(known, flags), measured or took)
    return sorted(kept.values())


def _nearest(ends: list[int], end: int) -> int | None:
    """Return the nearest of sorted ends that is at most `SAME_END` apart."""
    index = bisect_left(ends, end)
    near = [each for each in ends[max(index - 1, 0) : index + 1] if abs(each - end) <= END_TOLERANCE]
    return min(near, key=lambda each: abs(each - end), default=None)


def merged(before: int, flags: int) -> int:
    """Return the flags of one end that was reported twice: success, modification and a poll win.

    A webhook that leaves unknown whether records were modified is that of a first read: another one cannot know either.
    """
    modified = (before | flags) & MODIFIED
    unknown = before & flags & UNKNOWN
    if not modified and any((each & (UNKNOWN | POLLED)) == UNKNOWN for each in (before, flags)):
        unknown = UNKNOWN
    return modified | unknown | (before & flags & FAILED) | ((before | flags) & (POLLED | MEASURED))
