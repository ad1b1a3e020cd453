"""The states and the record of a dataset, and the history of a feed's syncs."""

import struct
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.aws.dynamodb.item_codec import PackedRows, packed
from freshness.domain.datasets.dataset import OUTCOMES, Dataset, DatasetState, Issue, Outcome, Trigger, has_ended
from freshness.domain.datasets.sync_history import (
    KEPT,
    LAST_KEPT,
    NO_HISTORY,
    SAME_END,
    SAME_READ,
    Sync,
    SyncHistory,
    usual_duration,
)
from freshness.domain.learned.change_rate import Observation
from tests.builders import HOUR, NOON, SECOND

START = datetime(2026, 11, 23, 12, 0, 0, 123457, tzinfo=UTC)

FOUND = st.lists(st.booleans(), max_size=100)


def syncs(found: list[bool]) -> list[Sync]:
    return [Sync(ended_at=START + number * HOUR, records_modified=each) for number, each in enumerate(found)]


def kept_one_by_one(found: list[bool]) -> list[Sync]:
    kept = NO_HISTORY
    for sync in syncs(found):
        kept = kept.with_end(sync.ended_at, sync.records_modified, succeeded=True, requested_at=None)
    return list(kept)


def observed(syncs: list[Sync]) -> tuple[list[Observation], float]:
    """Return what an estimate is computed from: each interval with a change, and the sum of the others."""
    observations = list(SyncHistory.of(syncs).observations())
    changed = [observation for observation in observations if observation.changed]
    return changed, sum(observation.days for observation in observations if not observation.changed)


@given(found=FOUND, took=st.none() | st.integers(0, 10**9))
def test_unpacking_returns_what_was_packed(found: list[bool], took: int | None) -> None:
    lasted = None if took is None else timedelta(milliseconds=took)
    given = [Sync(ended_at=s.ended_at, records_modified=s.records_modified, took=lasted) for s in syncs(found)]
    assert list(SyncHistory.of(given)) == given
    assert len(SyncHistory.of(given)) == len(given)


@given(found=FOUND)
def test_at_most_the_limit_is_kept_and_always_the_latest(found: list[bool]) -> None:
    kept = kept_one_by_one(found)
    assert len(kept) <= KEPT
    assert kept[-LAST_KEPT:] == syncs(found)[-LAST_KEPT:]


@given(changes=st.sets(st.integers(1, 99), max_size=8), count=st.integers(1, 100))
def test_leaving_out_syncs_does_not_change_what_is_observed(changes: set[int], count: int) -> None:
    found = [number in changes for number in range(count)]
    since = next((number for number, each in enumerate(found) if each), count)

    changed, unchanged_days = observed(kept_one_by_one(found))

    all_changed, all_unchanged_days = observed(syncs(found))
    assert changed[1:] == all_changed[1:]
    # Only what was before the first sync with a change is left out.
    assert all_unchanged_days - unchanged_days <= since / 24 + 1e-9


def test_known_durations_are_listed_shortest_first() -> None:
    took = [timedelta(seconds=9), None, timedelta(seconds=3)]
    given = [Sync(ended_at=START, records_modified=False, took=each) for each in took]
    assert SyncHistory.of(given).durations == [timedelta(seconds=3), timedelta(seconds=9)]


def test_a_duration_beyond_what_fits_is_stored_as_the_longest() -> None:
    history = NO_HISTORY.with_end(START, True, succeeded=True, requested_at=START - 100 * 24 * HOUR)
    assert [took.days for sync in history if (took := sync.took)] == [49]
    assert history.durations == []


@given(minutes=st.permutations(range(1, 9)), modified=st.booleans())
def test_only_the_first_end_after_a_request_has_a_duration_in_whatever_order_ends_are_added(
    minutes: list[int], modified: bool
) -> None:
    history = NO_HISTORY
    for minute in minutes:
        history = history.with_end(START + minute * 5 * HOUR, modified, succeeded=True, requested_at=START + 14 * HOUR)
    assert [sync.took for sync in history] == [None, None, 1 * HOUR, None, None, None, None, None]


def test_an_end_after_a_crash_between_a_request_and_its_record_is_not_measured_from_the_request_before() -> None:
    known = NO_HISTORY.with_end(START + HOUR / 60, True, succeeded=True, requested_at=START)
    # A second request was made at 12:20 and never recorded.
    history = known.with_end(START + HOUR * 25 / 60, True, succeeded=True, requested_at=START)
    assert history.durations == [HOUR / 60]


@pytest.mark.parametrize(
    ("seconds", "expected", "usual"),
    [
        ([10, 11, 12, 1500], 15, 12),
        ([12, 1500], None, 12),
        ([1500], 15, 15),
        ([1500], None, 1500),
        ([10] * 8 + [1500], None, 10),
        ([10] * 9 + [1500], None, 1500),
        ([1, 2, 10, 11, 12, 39], None, 39),
    ],
)
def test_an_outlier_by_the_median_does_not_decide_what_is_usual_in_a_sample_of_less_than_ten(
    seconds: list[int], expected: int | None, usual: int
) -> None:
    sample = [timedelta(seconds=each) for each in seconds]
    usually = None if expected is None else timedelta(seconds=expected)
    assert usual_duration(sample, usually) == timedelta(seconds=usual)


def test_a_success_older_than_what_is_remembered_counts_as_known() -> None:
    history = NO_HISTORY
    for sync in syncs([False] * 40):
        history = history.with_end(sync.ended_at, False, succeeded=True, requested_at=None)
    assert history.has_success_at(START + 1.5 * HOUR, polled=False)
    assert not history.has_success_at(START + 38.5 * HOUR, polled=False)


@given(seconds=st.integers(0, 30))
def test_when_a_poll_found_the_end_is_kept_with_what_a_webhook_found_in_either_order(seconds: int) -> None:
    requested_at, dated = START - HOUR, START + timedelta(seconds=seconds)
    polled = NO_HISTORY.with_end(START, None, succeeded=True, requested_at=requested_at, polled=True)
    reported = NO_HISTORY.with_end(dated, True, succeeded=True, requested_at=requested_at)

    one = polled.with_end(dated, True, succeeded=True, requested_at=requested_at)
    other = reported.with_end(START, None, succeeded=True, requested_at=requested_at, polled=True)
    later = reported.with_end(START, None, succeeded=True, requested_at=START + HOUR, polled=True)

    assert list(one) == list(other) == list(later) == [Sync(ended_at=START, records_modified=True, took=HOUR)]


def test_what_a_webhook_found_is_of_the_polled_end_that_is_nearest_to_it() -> None:
    history = NO_HISTORY
    for after in (0, 20):
        history = history.with_end(START + after * SECOND, None, succeeded=True, requested_at=None, polled=True)

    reported = history.with_end(START + 18 * SECOND, True, succeeded=True, requested_at=None)

    assert [(sync.ended_at, sync.records_modified) for sync in reported] == [
        (START, None),
        (START + 20 * SECOND, True),
    ]


def test_two_reads_that_webhooks_report_a_moment_apart_are_two() -> None:
    one = NO_HISTORY.with_end(START, False, succeeded=True, requested_at=None)
    assert one.has_success_at(START + SAME_READ, polled=False)
    assert not one.has_success_at(START + timedelta(seconds=2), polled=False)
    assert one.has_success_at(START + SAME_END, polled=True)
    assert not one.has_success_at(START + SAME_END + timedelta.resolution, polled=True)


def test_a_history_that_was_stored_equals_the_one_that_was_computed() -> None:
    history = SyncHistory.of([Sync(ended_at=START + HOUR * n, records_modified=bool(n % 2)) for n in range(KEPT)])
    stored = SyncHistory(PackedRows(packed(history)))

    assert stored == history
    assert history == stored
    assert hash(stored) == hash(history)
    assert (len(stored), list(stored)) == (len(history), list(history))
    assert packed(stored) == packed(history)


def test_a_history_that_an_earlier_version_stored_reads_the_same() -> None:
    """Each sync is the microseconds of its end since 1970, its flags, and its milliseconds plus one."""
    stored = SyncHistory(PackedRows(struct.pack(">QBI", 1795435200_000000, 1, 5001)))
    took = timedelta(seconds=5)
    assert list(stored) == [Sync(ended_at=START.replace(microsecond=0), records_modified=True, took=took)]


def test_a_copy_has_the_request_of_the_success_that_ended_nearest_to_it_and_of_none_that_ended_at_another_time() -> (
    None
):
    history = NO_HISTORY
    for ended_at, took in ((START, 5 * SECOND), (START + HOUR, 7 * SECOND)):
        history = history.with_end(ended_at, True, succeeded=True, requested_at=ended_at - took)

    def requested_at(ended_at: datetime) -> datetime | None:
        found = history.requested_at(ended_at)
        return found and found.replace(microsecond=0)

    assert requested_at(START) == (START - 5 * SECOND).replace(microsecond=0)
    assert requested_at(START + HOUR) == (START + HOUR - 7 * SECOND).replace(microsecond=0)
    assert requested_at(START + HOUR / 2) is None


def test_a_read_that_failed_is_no_copy_and_has_no_duration() -> None:
    history = NO_HISTORY.with_end(START, None, succeeded=False, requested_at=START - HOUR / 60)
    assert history.requested_at(START) is None
    assert history.last_successes == history.durations == []
    assert not history.has_success_at(START, polled=True)


def test_when_codat_says_that_a_read_was_requested_counts_more_than_when_we_last_requested_one() -> None:
    history = NO_HISTORY.with_end(START, None, succeeded=True, requested_at=START - HOUR, began_at=START - 2 * HOUR)
    assert [sync.took for sync in history] == [2 * HOUR]


def test_the_end_of_a_request_is_the_first_after_it() -> None:
    history = SyncHistory.of(syncs([False, True, False]))
    assert history.first_after(START) == list(history)[1]
    assert history.first_after(START + 2 * HOUR) is None


def test_of_reads_that_a_poll_found_near_each_other_the_nearest_that_succeeded_is_meant() -> None:
    history = NO_HISTORY
    for after, succeeded in ((0, True), (10, False), (20, True)):
        ended_at = START + after * SECOND
        history = history.with_end(
            ended_at, None, succeeded=succeeded, requested_at=None, polled=True, began_at=ended_at - HOUR
        )

    def requested_at(after: int) -> datetime | None:
        return history.requested_at(START + after * SECOND)

    assert requested_at(1) == requested_at(9) == (START - HOUR).replace(microsecond=123000)
    assert requested_at(11) == requested_at(50) == (START - HOUR + 20 * SECOND).replace(microsecond=123000)
    assert requested_at(51) is None


def test_a_webhook_reports_the_nearest_polled_end_of_its_kind_again() -> None:
    history = NO_HISTORY
    for after in (0, 20):
        history = history.with_end(START + after * SECOND, None, succeeded=True, requested_at=None, polled=True)
    again = partial(history.reported_again, requested_at=None)

    assert again(START + 2 * SECOND, succeeded=True) == START
    assert again(START + 50 * SECOND, succeeded=True) == START + 20 * SECOND
    assert again(START + 51 * SECOND, succeeded=True) is None
    assert again(START + 2 * SECOND, succeeded=False) is None


def test_a_webhook_reports_the_end_of_another_one_again_only_if_a_read_was_requested_between_them() -> None:
    history = NO_HISTORY.with_end(START, None, succeeded=True, requested_at=None)

    def again(requested_at: datetime | None) -> datetime | None:
        return history.reported_again(START + 5 * SECOND, succeeded=True, requested_at=requested_at)

    assert again(START + SECOND) == again(START + 5 * SECOND) == START
    assert again(START) is again(START + 6 * SECOND) is again(None) is None


def dataset(
    state: str,
    minute: int,
    trigger: Trigger = Trigger.EXTERNAL,
    records_modified: bool | None = None,
    issues: tuple[Issue, ...] = (),
) -> Dataset:
    return Dataset(
        company_id="company",
        dataset_id="dataset",
        data_type="invoices",
        connection_id="connection",
        trigger=trigger,
        requested_at=NOON,
        state=state,
        ended_at=NOON + timedelta(minutes=minute),
        records_modified=records_modified,
        issues=issues,
    )


def test_every_state_that_codat_documents_has_an_outcome() -> None:
    assert len(DatasetState) == 21
    assert Outcome.UNKNOWN not in {OUTCOMES[state] for state in DatasetState}


def test_the_first_end_counts_with_its_own_issues_and_who_requested_the_dataset() -> None:
    issue = Issue(type="warning.validation", message="Something is wrong.")
    later = dataset("FetchError", 5, Trigger.PROMISE, issues=(issue,))
    merged = later.merge(dataset("Complete", 2)).merge(dataset("MapError", 9))
    assert (merged.state, merged.ended_at, merged.issues) == ("Complete", NOON + timedelta(minutes=2), ())
    assert merged.trigger is Trigger.PROMISE
    assert dataset("Complete", 5).merge(later).issues == (issue,)


ISSUES = [Issue(type="warning.validation", message=message) for message in "ab"]
RECORDS = st.lists(
    st.builds(
        dataset,
        st.sampled_from([state for state in DatasetState if has_ended(state)]),
        st.integers(0, 5),
        st.sampled_from(Trigger),
        st.sampled_from([None, True, False]),
        st.lists(st.sampled_from(ISSUES), max_size=2).map(tuple),
    ),
    min_size=1,
)


@given(records=RECORDS, random=st.randoms(use_true_random=False))
def test_merging_records_does_not_depend_on_their_order_or_repetition(records: list[Dataset], random: Random) -> None:
    def merged(records: list[Dataset]) -> Dataset:
        first, *others = records
        for other in others:
            first = first.merge(other)
        return first

    shuffled = records * 2
    random.shuffle(shuffled)

    assert merged(shuffled) == merged(records)


@pytest.mark.parametrize(
    ("meaning", "states"),
    [
        (Outcome.COMPLETE, "Complete"),
        (Outcome.PERSON_MUST_ACT, "PermissionsError"),
        (Outcome.NEVER, "NotSupported"),
        # A second AuthError in a row asks the customer to relink.
        (Outcome.TRY_AGAIN, "AuthError Cancelled FetchError InternalError MapError PrerequisiteNotMet ProcessingError"),
        (Outcome.TRY_AGAIN, "RateLimitError ValidationError"),
        (Outcome.IN_FLIGHT, "Fetching Initial MapQueued Mapping Processing ProcessingQueued Queued Validating"),
        (Outcome.IN_FLIGHT, "ValidationQueued"),
        (Outcome.UNKNOWN, "SomethingNew"),
    ],
)
def test_each_state_means_what_codat_documents(meaning: Outcome, states: str) -> None:
    for state in states.split():
        assert OUTCOMES[state] is meaning
        assert has_ended(state) is (meaning not in (Outcome.IN_FLIGHT, Outcome.UNKNOWN))
