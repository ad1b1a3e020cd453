"""What is kept of syncs, and what it tells."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.change_rate import Observation
from freshness.domain.sync_history import KEPT, LAST_KEPT, NO_HISTORY, Sync, SyncHistory

NOON = datetime(2026, 11, 23, 12, 0, 0, 123457, tzinfo=UTC)
HOUR = timedelta(hours=1)

FOUND = st.lists(st.booleans(), max_size=100)


def syncs(found: list[bool]) -> list[Sync]:
    return [Sync(ended_at=NOON + number * HOUR, records_modified=each) for number, each in enumerate(found)]


def kept_one_by_one(found: list[bool]) -> list[Sync]:
    kept = NO_HISTORY
    for sync in syncs(found):
        kept = kept.with_end(sync.ended_at, sync.records_modified, requested_at=None)
    return list(kept)


def told(syncs: list[Sync]) -> tuple[list[Observation], float]:
    """What an estimate goes by: each time after which something had changed, and the sum of the others."""
    observations = list(SyncHistory.of(syncs).observations)
    changed = [observation for observation in observations if observation.changed]
    return changed, sum(observation.days for observation in observations if not observation.changed)


@given(found=FOUND, took=st.none() | st.integers(0, 10**9))
def test_what_was_packed_is_what_it_was(found: list[bool], took: int | None) -> None:
    lasted = None if took is None else timedelta(milliseconds=took)
    given = [Sync(ended_at=s.ended_at, records_modified=s.records_modified, took=lasted) for s in syncs(found)]

    assert list(SyncHistory.of(given)) == given
    assert len(SyncHistory.of(given)) == len(given)


@given(found=FOUND)
def test_no_more_are_kept_than_there_is_room_for_and_all_of_the_last(found: list[bool]) -> None:
    kept = kept_one_by_one(found)

    assert len(kept) <= KEPT
    assert kept[-LAST_KEPT:] == syncs(found)[-LAST_KEPT:]


@given(changes=st.sets(st.integers(1, 99), max_size=8), count=st.integers(1, 100))
def test_what_is_left_out_takes_nothing_from_what_is_told(changes: set[int], count: int) -> None:
    found = [number in changes for number in range(count)]
    since = next((number for number, each in enumerate(found) if each), count)

    changed, unchanged_days = told(kept_one_by_one(found))

    all_changed, all_unchanged_days = told(syncs(found))
    assert changed[1:] == all_changed[1:]
    # Only what was before the first sync that tells anything is forgotten.
    assert all_unchanged_days - unchanged_days <= since / 24 + 1e-9


def test_the_times_that_syncs_took_are_told_as_far_as_they_are_known() -> None:
    took = [timedelta(seconds=9), None, timedelta(seconds=3)]
    given = [Sync(ended_at=NOON, records_modified=False, took=each) for each in took]

    assert SyncHistory.of(given).times == [timedelta(seconds=3), timedelta(seconds=9)]


def test_a_sync_that_took_longer_than_fits_is_known_all_the_same() -> None:
    known = NO_HISTORY.with_end(NOON, records_modified=True, requested_at=NOON - 100 * 24 * HOUR)

    assert (len(known), [took.days for took in known.times]) == (1, [49])
