"""The rhythm of the week: what is learned of it from syncs, and how time passes by it."""

import math
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.fleet import MOST_EVIDENCE, FeedSample, Fleet
from freshness.domain.rhythm import HOURS, NO_COUNTS, STEADY, Rhythm, SyncInterval, counted

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
OFFICE = [hour % 24 in range(8, 18) and hour < 5 * 24 for hour in range(HOURS)]
OFFICE_HOURS = Rhythm(tuple(0.9 * HOURS / 50 if each else 0.1 * HOURS / 118 for each in OFFICE))
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
RHYTHMS = st.sampled_from(
    [STEADY, OFFICE_HOURS, *(Rhythm(OFFICE_HOURS.by_hour, ZoneInfo(name)) for name in ("Asia/Tokyo", "Asia/Kolkata"))]
)


def at(hours: float) -> datetime:
    """Return the time so many hours after Monday 00:00."""
    return MONDAY + hours * HOUR


def syncs(rhythm: Rhythm, rate: float, count: int, every: float) -> list[tuple[SyncInterval, float]]:
    """Return intervals of `every` hours at any times, each of which saw a change with its true probability."""
    random, intervals = Random(1), []
    for _ in range(count):
        start = at(random.random() * HOURS)
        end = start + every * HOUR
        changed = random.random() < -math.expm1(-rate * rhythm.days_between(start, end))
        intervals.append((SyncInterval(start, end, changed), rate))
    return intervals


def test_hours_in_which_more_changes_count_for_more() -> None:
    assert OFFICE_HOURS.days_between(at(8), at(18)) == pytest.approx(0.9 * 7 / 5)
    assert OFFICE_HOURS.days_between(at(18), at(24)) == pytest.approx(0.1 * 7 * 6 / 118)
    assert OFFICE_HOURS.days_between(at(18), at(8)) == 0


@given(rhythm=RHYTHMS, start=TIMES)
def test_a_week_has_seven_rhythm_days(rhythm: Rhythm, start: datetime) -> None:
    assert rhythm.days_between(start, start + 7 * DAY) == pytest.approx(7)


@given(rhythm=RHYTHMS, start=TIMES, days=st.floats(0, 30))
def test_the_time_until_so_many_rhythm_days_is_the_inverse_of_the_days_between(
    rhythm: Rhythm, start: datetime, days: float
) -> None:
    assert rhythm.days_between(start, start + rhythm.time_until(start, days)) == pytest.approx(days, abs=1e-6)


@given(rhythm=RHYTHMS, start=TIMES, first=st.timedeltas(timedelta(0), 9 * DAY), second=st.timedeltas(timedelta(0)))
def test_rhythm_days_add_up(rhythm: Rhythm, start: datetime, first: timedelta, second: timedelta) -> None:
    middle = start + first
    end = middle + min(second, 9 * DAY)
    parts = rhythm.days_between(start, middle) + rhythm.days_between(middle, end)
    assert parts == pytest.approx(rhythm.days_between(start, end), abs=1e-9)


def test_office_hours_follow_the_clock_of_the_zone_through_daylight_saving_time() -> None:
    rhythm = Rhythm(OFFICE_HOURS.by_hour, ZoneInfo("Europe/London"))
    eight = datetime(2026, 10, 26, 8, tzinfo=UTC)  # The Monday after clocks went back.

    assert rhythm.days_between(eight - HOUR, eight) < 0.01
    assert rhythm.days_between(eight, eight + HOUR) > 0.1
    before = eight - 7 * DAY
    assert rhythm.days_between(before - HOUR, before) > 0.1
    assert rhythm.time_until(eight - 3 * DAY + 10 * HOUR, 0.5) > 60 * HOUR


@pytest.mark.parametrize("every", [6, 12])
def test_the_rhythm_is_learned_from_syncs_that_only_show_that_something_changed(every: float) -> None:
    counts, learned, seen = NO_COUNTS, STEADY, syncs(OFFICE_HOURS, 1.0, 12000, every)
    for start in range(0, 12000, 1000):
        counts = counts.merged(counted(seen[start : start + 1000], learned))
        learned = counts.rhythm()

    office = [factor for factor, is_office in zip(learned.by_hour, OFFICE, strict=True) if is_office]
    others = [factor for factor, is_office in zip(learned.by_hour, OFFICE, strict=True) if not is_office]
    assert sum(office) / len(office) > 2 * sum(others) / len(others)
    assert sum(learned.by_hour) == pytest.approx(HOURS)
    assert learned.by_hour[2 * 24 + 12] > 1.7
    assert learned.by_hour[6 * 24] < 0.5


def test_without_a_rhythm_about_none_is_learned() -> None:
    learned = counted(syncs(STEADY, 1.0, 20000, 6), STEADY).rhythm()

    assert sum(abs(factor - 1) for factor in learned.by_hour) / HOURS < 0.15


@given(
    st.lists(
        st.builds(
            lambda start, length, changed, rate: (SyncInterval(start, start + length, changed), rate),
            TIMES,
            st.timedeltas(timedelta(0), 3 * DAY),
            st.booleans(),
            st.floats(1e-9, 1e4),
        )
    )
)
def test_whatever_syncs_showed_every_factor_is_positive_and_their_mean_is_one(
    intervals: list[tuple[SyncInterval, float]],
) -> None:
    by_hour = counted(intervals, OFFICE_HOURS).rhythm().by_hour

    assert min(by_hour) > 0
    assert sum(by_hour) == pytest.approx(HOURS)


def test_kinds_are_learned_separately_and_in_any_order() -> None:
    samples = [
        FeedSample("Xero/invoices", 1.0, tuple(each for each, _ in syncs(OFFICE_HOURS, 1.0, 50, 6))),
        FeedSample("Xero/invoices", 100.0, ()),
        FeedSample("Xero/bills", 5.0, ()),
    ]
    once, parts = Fleet().learned(samples), Fleet()
    for sample in reversed(samples):
        parts = parts.merged(Fleet().learned([sample]))

    for fleet in (once, parts):
        assert fleet.expected("Xero", "invoices") == pytest.approx(10.0)
        assert fleet.expected("Sage 50", "invoices") is None
        assert fleet.rhythm("Xero", "bills") == STEADY
    assert parts.rhythm("Xero", "invoices").by_hour == pytest.approx(once.rhythm("Xero", "invoices").by_hour)


def learned_fleet(rhythm: Rhythm, batches: int = 12) -> Fleet:
    """Return what is learned of 12,000 intervals of six hours, batch by batch."""
    fleet, seen = Fleet(), [interval for interval, _ in syncs(rhythm, 1.0, 12000, 6)]
    size = len(seen) // batches
    for start in range(0, len(seen), size):
        fleet = fleet.merged(fleet.learned([FeedSample("Xero/invoices", 1.0, tuple(seen[start : start + size]))]))
    return fleet


def test_a_rhythm_that_does_not_predict_later_syncs_better_than_a_constant_rate_is_left_out() -> None:
    assert learned_fleet(STEADY).rhythm("Xero", "invoices") == STEADY


def test_a_rhythm_that_predicts_later_syncs_is_used() -> None:
    learned = learned_fleet(OFFICE_HOURS)

    assert learned.kinds["Xero/invoices"].evidence == MOST_EVIDENCE
    by_hour = learned.rhythm("Xero", "invoices", ZoneInfo("Asia/Tokyo")).by_hour
    assert by_hour[2 * 24 + 12] > 1.7
    assert by_hour == pytest.approx(learned.kinds["Xero/invoices"].hours.rhythm().by_hour)
