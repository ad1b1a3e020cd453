"""What Codat allows, as all functions know it together."""

from datetime import timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.api_limits import FURTHEST_SLOT, GRACE, ApiLimits, interval
from tests.simulated_time import START as NINE

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MIDNIGHT = NINE + 15 * HOUR


@given(
    calls_per_minute=st.integers(60, 1000),
    reservations=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20)), max_size=15),
)
def test_no_minute_has_more_calls_than_allowed_however_late_each_uses_its_slot(
    calls_per_minute: int, reservations: list[tuple[float, int]]
) -> None:
    quota, now, slots = ApiLimits(), NINE, []
    for pause, calls in reservations:
        now += timedelta(seconds=pause)
        quota = quota.reserved(calls, calls_per_minute, now)
        assert quota.next_slot
        slots += [quota.next_slot - number * interval(calls_per_minute) for number in range(calls, 0, -1)]

    for slot in slots:
        # The worst minute begins as the grace of its first slot ends.
        assert sum(slot <= other < slot + GRACE + MINUTE for other in slots) <= calls_per_minute


def test_a_slot_reserved_by_a_clock_that_is_far_ahead_does_not_hold_up_the_others_for_long() -> None:
    quota = ApiLimits().reserved(1, 600, NINE + HOUR).reserved(1, 600, NINE)

    assert quota.next_slot
    assert quota.next_slot <= NINE + FURTHEST_SLOT + SECOND


def test_the_latest_word_on_what_is_left_counts() -> None:
    words = [(1000, 10, NINE), (1000, 9, NINE), (2000, 1500, NINE + SECOND)]
    for order in permutations(words):
        quota = ApiLimits()
        for limit, remaining, at in order:
            quota = quota.told(limit, remaining, at)
        assert (quota.limit, quota.remaining) == (2000, 1500)


def test_a_stop_holds_until_its_time() -> None:
    quota = ApiLimits().stopped(NINE + MINUTE, NINE)

    assert quota.no_call_before(NINE) == NINE + MINUTE
    assert quota.no_call_before(NINE + MINUTE) is None


def test_a_stop_beyond_any_limit_of_codats_ends_after_a_day() -> None:
    quota = ApiLimits().stopped(NINE + 9999 * HOUR, NINE)

    assert quota.no_call_before(NINE) == NINE + 24 * HOUR


def test_a_short_stop_does_not_shorten_a_long_one() -> None:
    quota = ApiLimits().stopped(MIDNIGHT, NINE).stopped(NINE + MINUTE, NINE + SECOND)

    assert quota.no_call_before(NINE + HOUR) == MIDNIGHT


def test_a_stop_is_lifted_by_a_later_word_only() -> None:
    for order in permutations(["stop", "resume"]):
        quota = ApiLimits()
        for word in order:
            quota = quota.stopped(MIDNIGHT, NINE) if word == "stop" else quota.resumed(NINE + MINUTE)
        assert quota.no_call_before(NINE + HOUR) is None

    assert quota.stopped(MIDNIGHT, NINE + 2 * MINUTE).no_call_before(NINE + HOUR) == MIDNIGHT


def test_a_quota_used_up_stops_until_the_day_is_over() -> None:
    quota = ApiLimits().told(1000, 0, NINE)

    assert quota.no_call_before(NINE) == MIDNIGHT
    assert quota.no_call_before(MIDNIGHT) is None
    assert quota.resumed(NINE + MINUTE).no_call_before(NINE + HOUR) is None
