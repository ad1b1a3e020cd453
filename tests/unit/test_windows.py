"""Time windows: when refreshes may be queued, and when not."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.promises.hours import Days
from freshness.domain.promises.windows import Window, allowed, next_allowed, planned
from tests.builders import HOUR, MINUTE

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
EVERY_DAY = frozenset(range(7))


def window(
    start: int, end: int, *, allows: bool = False, days: frozenset[int] = EVERY_DAY, zone: str = "UTC"
) -> Window:
    return Window(name="w", allows=allows, start=time(start), end=time(end), days=days, zone=ZoneInfo(zone))


def test_without_windows_refreshes_are_always_allowed() -> None:
    assert allowed((), MONDAY)
    assert next_allowed((), MONDAY) == MONDAY
    assert planned((), MONDAY, after=MONDAY, room=HOUR) == MONDAY


@pytest.mark.parametrize(("hour", "expected"), [(8, True), (9, False), (16, False), (17, True)])
def test_refreshes_are_not_allowed_in_a_window_that_forbids_them(hour: int, expected: bool) -> None:
    assert allowed((window(9, 17),), MONDAY + hour * HOUR) is expected


@pytest.mark.parametrize(("hour", "expected"), [(21, False), (22, True), (24 + 5, True), (24 + 6, False)])
def test_a_window_past_midnight_ends_on_the_next_day(hour: int, expected: bool) -> None:
    assert allowed((window(22, 6, allows=True),), MONDAY + hour * HOUR) is expected


def test_a_window_belongs_to_the_day_on_which_it_starts() -> None:
    sunday_nights = window(22, 6, allows=True, days=frozenset({6}))

    assert allowed((sunday_nights,), MONDAY + 5 * HOUR)
    assert not allowed((sunday_nights,), MONDAY + 23 * HOUR)
    assert next_allowed((sunday_nights,), MONDAY + 7 * HOUR) == MONDAY + timedelta(days=6, hours=22)


def test_one_allowing_window_suffices_and_one_forbidding_window_overrides_it() -> None:
    windows = (window(1, 3, allows=True), window(12, 14, allows=True), window(2, 13))

    assert [hour for hour in range(24) if allowed(windows, MONDAY + hour * HOUR)] == [1, 13]


@pytest.mark.parametrize(("day", "opens_at"), [("2026-01-05", 8), ("2026-07-06", 7)])
def test_window_times_are_local_times_in_summer_and_winter(day: str, opens_at: int) -> None:
    midnight = datetime.fromisoformat(f"{day}T00:00:00+00:00")

    assert next_allowed((window(8, 18, allows=True, zone="Europe/London"),), midnight) == midnight + opens_at * HOUR


def test_windows_that_leave_no_time_never_allow_a_refresh() -> None:
    windows = (window(9, 17, allows=True), window(8, 18))

    assert next_allowed(windows, MONDAY) is None
    assert planned(windows, MONDAY, after=MONDAY - HOUR, room=MINUTE) is None


def test_a_refresh_due_in_a_forbidding_window_is_planned_before_it() -> None:
    at = planned((window(1, 3),), MONDAY + 2 * HOUR, after=MONDAY, room=MINUTE)

    assert at == MONDAY + HOUR - MINUTE


def test_a_refresh_is_planned_after_the_window_if_the_last_one_was_just_before_it() -> None:
    at = planned((window(1, 3),), MONDAY + 2 * HOUR, after=MONDAY + HOUR - MINUTE, room=MINUTE)

    assert at == MONDAY + 3 * HOUR


WINDOWS = st.lists(
    st.builds(
        Window,
        name=st.just("w"),
        allows=st.booleans(),
        start=st.builds(time, st.integers(0, 11), st.sampled_from([0, 30])),
        end=st.builds(time, st.integers(12, 23), st.sampled_from([0, 30])),
        days=st.frozensets(st.integers(0, 6), min_size=1),
        zone=st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Europe/London"), ZoneInfo("Australia/Sydney")]),
    ),
    max_size=3,
).map(tuple)
TIMES = st.integers(0, 60 * 24 * 21).map(lambda minutes: MONDAY + minutes * MINUTE)


@given(windows=WINDOWS, at=TIMES, after=TIMES)
def test_the_planned_time_is_allowed_and_later_than_the_last_refresh(
    windows: tuple[Window, ...], at: datetime, after: datetime
) -> None:
    found = planned(windows, at, after=after, room=MINUTE)

    assert found is None or allowed(windows, found)
    assert found is None or found > after or found >= at
    assert found is not None or next_allowed(windows, at) is None


@given(windows=WINDOWS, times=st.tuples(TIMES, TIMES), after=TIMES)
def test_a_later_due_time_never_gives_an_earlier_planned_time(
    windows: tuple[Window, ...], times: tuple[datetime, datetime], after: datetime
) -> None:
    earlier, later = (planned(windows, at, after=after, room=MINUTE) for at in sorted(times))

    assert (earlier is None) == (later is None)
    assert earlier is None or later is None or earlier <= later


@given(windows=WINDOWS, at=TIMES)
def test_no_time_before_next_allowed_is_allowed(windows: tuple[Window, ...], at: datetime) -> None:
    found = next_allowed(windows, at)

    until = found or at + timedelta(days=7)
    assert not any(allowed(windows, at + n * HOUR) for n in range(24 * 7) if at + n * HOUR < until)


SPRING = datetime(2026, 3, 29, tzinfo=UTC)
"""The day on which clocks in London skip from 01:00 to 02:00, at 01:00 UTC."""


@pytest.mark.parametrize(
    ("start", "end", "opens", "closes"),
    [
        ("01:30", "04:00", "01:00", "03:00"),
        ("00:30", "01:30", "00:30", "01:00"),
        ("01:00", "03:00", "01:00", "02:00"),
        ("02:00", "03:00", "01:00", "02:00"),
        ("00:00", "05:00", "00:00", "04:00"),
    ],
)
@pytest.mark.parametrize("allows", [True, False])
def test_what_starts_or_ends_in_the_hour_that_is_skipped_does_so_at_its_end(
    start: str, end: str, opens: str, closes: str, allows: bool
) -> None:
    hours = Window(
        name="w",
        allows=allows,
        start=time.fromisoformat(start),
        end=time.fromisoformat(end),
        days=EVERY_DAY,
        zone=ZoneInfo("Europe/London"),
    )
    first, last = (datetime.combine(SPRING, time.fromisoformat(text), UTC) for text in (opens, closes))

    assert [allowed((hours,), at) for at in (first, last - MINUTE)] == [allows, allows]
    assert [allowed((hours,), at) for at in (first - MINUTE, last)] == [not allows, not allows]


@pytest.mark.parametrize(
    ("zone", "from_local", "at"),
    [
        ("Europe/London", "2026-03-29T01:00", "2026-03-29T01:00"),
        ("America/New_York", "2026-03-08T02:00", "2026-03-08T07:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:00", "2026-10-03T15:30"),
    ],
)
def test_any_time_that_clocks_skip_means_the_very_moment_at_which_they_do(zone: str, from_local: str, at: str) -> None:
    days = Days(days=EVERY_DAY, zone=ZoneInfo(zone))
    skipped = [datetime.fromisoformat(from_local) + n * MINUTE for n in range(30)]

    assert {days.moment(each.date(), each.time()) for each in skipped} == {datetime.fromisoformat(at + "Z")}


def test_a_window_within_the_hour_that_is_skipped_does_not_open_on_that_day() -> None:
    hours = Window(
        name="w",
        allows=False,
        start=time(1, 10),
        end=time(1, 50),
        days=EVERY_DAY,
        zone=ZoneInfo("Europe/London"),
    )

    assert all(allowed((hours,), SPRING + minutes * MINUTE) for minutes in range(180))


@given(st.times(), st.dates(SPRING.date() - timedelta(days=400), SPRING.date() + timedelta(days=400)))
def test_a_later_local_time_is_never_an_earlier_moment(at: time, day: date) -> None:
    zone = ZoneInfo("Europe/London")
    days = Days(days=EVERY_DAY, zone=zone)
    at = at.replace(second=0, microsecond=0, fold=0)
    later = time(min(at.hour + 1, 23), at.minute)

    assert days.moment(day, at) <= days.moment(day, later)
