"""The limits of an account, which all functions share."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.api_limits import FURTHEST_SLOT, GRACE, ApiLimits, interval
from tests.builders import HOUR, MINUTE, SECOND

NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
MIDNIGHT = NINE + 15 * HOUR


@given(
    calls_per_minute=st.integers(60, 1000),
    reservations=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20)), max_size=15),
)
def test_no_minute_has_more_calls_than_allowed_however_late_each_uses_its_slot(
    calls_per_minute: int, reservations: list[tuple[float, int]]
) -> None:
    limits, now, slots = ApiLimits(), NINE, []
    for pause, calls in reservations:
        now += timedelta(seconds=pause)
        limits = limits.with_slots_reserved(calls, calls_per_minute, now)
        assert limits.next_slot
        slots += [limits.next_slot - number * interval(calls_per_minute) for number in range(calls, 0, -1)]

    for slot in slots:
        # The worst minute begins as the grace of its first slot ends.
        assert sum(slot <= other < slot + GRACE + MINUTE for other in slots) <= calls_per_minute


def test_a_slot_reserved_by_a_clock_that_is_far_ahead_does_not_hold_up_the_others_for_long() -> None:
    limits = ApiLimits().with_slots_reserved(1, 600, NINE + HOUR).with_slots_reserved(1, 600, NINE)

    assert limits.next_slot
    assert limits.next_slot <= NINE + FURTHEST_SLOT + SECOND


def test_the_latest_report_of_the_quota_counts() -> None:
    reports = [(1000, 10, NINE), (1000, 9, NINE), (2000, 1500, NINE + SECOND)]
    for order in permutations(reports):
        limits = ApiLimits()
        for limit, remaining, at in order:
            limits = limits.with_quota(limit, remaining, at)
        assert (limits.daily_quota, limits.remaining) == (2000, 1500)


def test_a_stop_holds_until_its_time() -> None:
    limits = ApiLimits().with_stop(NINE + MINUTE, NINE)

    assert limits.stopped_before(NINE) == NINE + MINUTE
    assert limits.stopped_before(NINE + MINUTE) is None


def test_a_stop_beyond_any_limit_of_codats_ends_after_a_day() -> None:
    limits = ApiLimits().with_stop(NINE + 9999 * HOUR, NINE)

    assert limits.stopped_before(NINE) == NINE + 24 * HOUR


def test_a_short_stop_does_not_shorten_a_long_one() -> None:
    limits = ApiLimits().with_stop(MIDNIGHT, NINE).with_stop(NINE + MINUTE, NINE + SECOND)

    assert limits.stopped_before(NINE + HOUR) == MIDNIGHT


def test_only_a_later_reset_ends_a_stop() -> None:
    for order in permutations(["stop", "reset"]):
        limits = ApiLimits()
        for kind in order:
            limits = limits.with_stop(MIDNIGHT, NINE) if kind == "stop" else limits.with_reset(NINE + MINUTE)
        assert limits.stopped_before(NINE + HOUR) is None

    assert limits.with_stop(MIDNIGHT, NINE + 2 * MINUTE).stopped_before(NINE + HOUR) == MIDNIGHT


def test_a_quota_used_up_stops_until_the_day_is_over() -> None:
    limits = ApiLimits().with_quota(1000, 0, NINE)

    assert limits.stopped_before(NINE) == MIDNIGHT
    assert limits.stopped_before(MIDNIGHT) is None
    assert limits.with_reset(NINE + MINUTE).stopped_before(NINE + HOUR) is None
