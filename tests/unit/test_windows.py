"""Windows, and days by the calendar: when refreshes may be queued, and when not."""

from calendar import day_name, monthrange
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshness.domain.promises.calendar_days import is_one_of
from freshness.domain.promises.hours import Days, days_text
from freshness.domain.promises.promise import Promise, TimeOfDayTerms
from freshness.domain.promises.terms import Deadline
from freshness.domain.promises.windows import Window, allowed, next_allowed, planned
from freshness.policy.file.days import parse_day
from tests.builders import DAY, HOUR, MINUTE

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
EVERY_DAY = frozenset(range(7))


def window(
    start: int, end: int, *, allows: bool = False, days: frozenset[int] = EVERY_DAY, zone: str = "UTC"
) -> Window:
    return Window(name="w", allows=allows, start=time(start), end=time(end), days=days, zone=ZoneInfo(zone))


def test_without_windows_refreshes_are_always_allowed() -> None:
    assert allowed((), MONDAY)
    assert next_allowed((), MONDAY) == planned((), MONDAY, after=MONDAY, room=HOUR) == MONDAY


@pytest.mark.parametrize(
    ("windows", "hours"),
    [
        ((window(9, 17),), [*range(9), *range(17, 30)]),
        ((window(22, 6, allows=True),), [*range(6), *range(22, 30)]),
        ((window(1, 3, allows=True), window(12, 14, allows=True), window(2, 13)), [1, 13, 25]),
    ],
    ids=["one that forbids", "one past midnight", "one that forbids overrides two that allow"],
)
def test_windows_leave_these_hours_of_a_day_and_a_quarter(windows: tuple[Window, ...], hours: list[int]) -> None:
    assert [hour for hour in range(30) if allowed(windows, MONDAY + hour * HOUR)] == hours


def test_a_window_belongs_to_the_day_on_which_it_starts() -> None:
    sunday_nights = window(22, 6, allows=True, days=frozenset({6}))
    assert allowed((sunday_nights,), MONDAY + 5 * HOUR)
    assert not allowed((sunday_nights,), MONDAY + 23 * HOUR)
    assert next_allowed((sunday_nights,), MONDAY + 7 * HOUR) == MONDAY + timedelta(days=6, hours=22)


@pytest.mark.parametrize(("day", "opens_at"), [("2026-01-05", 8), ("2026-07-06", 7)])
def test_window_times_are_local_times_in_summer_and_winter(day: str, opens_at: int) -> None:
    midnight = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    assert next_allowed((window(8, 18, allows=True, zone="Europe/London"),), midnight) == midnight + opens_at * HOUR


def test_windows_that_leave_no_time_never_allow_a_refresh() -> None:
    windows = (window(9, 17, allows=True), window(8, 18))
    assert next_allowed(windows, MONDAY) is None
    assert planned(windows, MONDAY, after=MONDAY - HOUR, room=MINUTE) is None


def test_a_refresh_due_in_a_forbidding_window_is_planned_before_it_or_after_it_if_the_last_was_just_before() -> None:
    before, after = (
        planned((window(1, 3),), MONDAY + 2 * HOUR, after=last, room=MINUTE)
        for last in (MONDAY, MONDAY + HOUR - MINUTE)
    )
    assert (before, after) == (MONDAY + HOUR - MINUTE, MONDAY + 3 * HOUR)


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
    any_hours = window(0, 0, allows=allows, zone="Europe/London")
    hours = replace(any_hours, start=time.fromisoformat(start), end=time.fromisoformat(end))
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
    hours = replace(window(1, 2, zone="Europe/London"), start=time(1, 10), end=time(1, 50))
    assert all(allowed((hours,), SPRING + minutes * MINUTE) for minutes in range(180))


@given(st.times(), st.dates(SPRING.date() - timedelta(days=400), SPRING.date() + timedelta(days=400)))
def test_a_later_local_time_is_never_an_earlier_moment(at: time, day: date) -> None:
    zone = ZoneInfo("Europe/London")
    days = Days(days=EVERY_DAY, zone=zone)
    at = at.replace(second=0, microsecond=0, fold=0)
    later = time(min(at.hour + 1, 23), at.minute)
    assert days.moment(day, at) <= days.moment(day, later)


FIRST = date(2026, 1, 1)
ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
NUMBERED = {"1st": 1, "2nd": 2, "3rd": 3, "12th": 12, "21st": 21, "29th": 29, "30th": 30, "31st": 31}
UNITS = ("day", "business day", *day_name)
NAMES = st.one_of(
    st.sampled_from([*day_name, "month end", *NUMBERED]),
    st.builds("{} {}".format, st.sampled_from(list(ORDINALS)), st.sampled_from(UNITS)),
    st.builds("{} {} of the month".format, st.sampled_from(["last", "1st", "3rd"]), st.sampled_from(UNITS)),
    st.dates(FIRST, FIRST + 700 * DAY).map(str),
)
HOLIDAYS = st.frozensets(st.dates(FIRST, FIRST + 700 * DAY), max_size=8)
DATES = st.dates(FIRST, FIRST + 700 * DAY)


def is_meant(name: str, day: date, holidays: frozenset[date]) -> bool:
    """Return whether a date is meant, from what each page of a calendar shows."""
    if day in holidays:
        return False
    if name in (str(day), day_name[day.weekday()]):
        return True
    _, length = monthrange(day.year, day.month)
    if name == "month end":
        return day.day == length
    if name in NUMBERED:
        return day.day == NUMBERED[name]
    ordinal, _, unit = name.removesuffix(" of the month").partition(" ")
    if unit not in UNITS:
        return False
    index = ORDINALS.get(ordinal, NUMBERED.get(ordinal, 0) - 1)
    pages = [day.replace(day=number) for number in range(1, length + 1)]
    if unit == "business day":
        pages = [page for page in pages if page.weekday() < 5 and page not in holidays]
    elif unit != "day":
        pages = [page for page in pages if day_name[page.weekday()] == unit]
    return day in pages[index:][:1]


@given(NAMES, DATES, HOLIDAYS)
def test_a_day_is_what_a_calendar_shows(name: str, first: date, holidays: frozenset[date]) -> None:
    for day in (first + number * DAY for number in range(62)):
        assert is_one_of(frozenset({parse_day(name)}), day, holidays) == is_meant(name, day, holidays), day


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("last business day of the month", date(2026, 5, 29)),
        ("last business day", date(2026, 12, 31)),
        ("month end", date(2028, 2, 29)),
        ("1st", date(2026, 11, 1)),
        ("first Monday", date(2026, 11, 2)),
        ("5th business day", date(2026, 11, 6)),
        ("fifth Friday", date(2026, 10, 30)),
        ("2026-12-24", date(2026, 12, 24)),
    ],
)
def test_days_that_everyone_knows(name: str, day: date) -> None:
    days = frozenset({parse_day(name)})
    assert [each for each in (day + n * DAY for n in range(-9, 10)) if is_one_of(days, each, frozenset())] == [day]


def test_the_last_business_day_is_before_a_holiday_at_the_end_of_a_month() -> None:
    days, holidays = frozenset({parse_day("last business day of the month")}), frozenset({date(2026, 8, 31)})
    assert is_one_of(days, date(2026, 8, 28), holidays)
    assert not is_one_of(days, date(2026, 8, 31), holidays)


def test_days_are_shown_as_the_policy_writes_them() -> None:
    names = "Monday", "Tuesday", "Wednesday", "last business day of the month", "2026-12-24"
    days = Days(days=frozenset(map(parse_day, names)), zone=ZoneInfo("Europe/London"))
    assert days_text(days) == "Mon to Wed, 2026-12-24, last business day of the month, Europe/London"


ZONES = st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Europe/London"), ZoneInfo("Australia/Sydney")])
ANY_DAYS = st.lists(
    st.builds(
        Window,
        name=st.just("w"),
        allows=st.booleans(),
        start=st.builds(time, st.sampled_from([0, 3, 8]), st.sampled_from([0, 30])),
        end=st.builds(time, st.sampled_from([0, 6, 18])),
        days=st.frozensets(NAMES.map(parse_day), min_size=1, max_size=3),
        zone=ZONES,
        holidays=HOLIDAYS,
    ),
    min_size=1,
    max_size=2,
).map(tuple)
HALF_HOURS = st.integers(0, 600 * 48).map(lambda number: datetime(2026, 1, 1, tzinfo=UTC) + number * 30 * MINUTE)


def is_open(windows: tuple[Window, ...], at: datetime) -> bool:
    """Return whether a refresh may be queued, from what a clock on the wall and a calendar show."""
    held = [
        any(
            is_one_of(window.days, started, window.holidays)
            and window.moment(started, window.start)
            <= at
            < window.moment(started + DAY if window.end <= window.start else started, window.end)
            for started in (at.astimezone(window.zone).date() - number * DAY for number in range(2))
        )
        for window in windows
    ]
    allowing = [holds for window, holds in zip(windows, held, strict=True) if window.allows]
    forbidding = any(holds for window, holds in zip(windows, held, strict=True) if not window.allows)
    return not forbidding and (any(allowing) or not allowing)


@given(ANY_DAYS, HALF_HOURS, st.sampled_from([30 * MINUTE, 6 * HOUR]))
@settings(max_examples=40)
def test_windows_of_any_days_open_when_a_clock_and_a_calendar_say_so(
    windows: tuple[Window, ...], at: datetime, step: timedelta
) -> None:
    opens_at = next_allowed(windows, at)
    assert allowed(windows, at) == is_open(windows, at)
    assert opens_at is None or is_open(windows, opens_at)
    until = min(filter(None, (opens_at, at + 70 * DAY)))
    assert not any(is_open(windows, at + n * step) for n in range(70 * 4) if at + n * step < until)


@given(ANY_DAYS, HALF_HOURS, HALF_HOURS, HALF_HOURS)
@settings(max_examples=40)
def test_a_refresh_is_planned_when_it_may_be_queued_however_rare_the_days_are(
    windows: tuple[Window, ...], first: datetime, second: datetime, after: datetime
) -> None:
    at, later_at = sorted((first, second))
    earlier, later = (planned(windows, each, after=after, room=MINUTE) for each in (at, later_at))
    assert earlier is None or (is_open(windows, earlier) and (earlier > after or earlier >= at))
    assert earlier is not None or next_allowed(windows, at) is None
    assert earlier is None or later is None or earlier <= later


@given(st.frozensets(NAMES, min_size=1, max_size=3), ZONES, HALF_HOURS, HOLIDAYS)
def test_a_deadline_comes_next_on_the_first_of_its_days(
    names: frozenset[str], zone: ZoneInfo, now: datetime, holidays: frozenset[date]
) -> None:
    days = frozenset(map(parse_day, names))
    deadline = Deadline(name="d", by=time(8), fresh_within=HOUR, source="", days=days, zone=zone, holidays=holidays)
    clock = TimeOfDayTerms(base=Promise(fresh_within=DAY), deadlines=(deadline,))
    today = now.astimezone(zone).date()
    mornings = (
        deadline.moment(day, time(8))
        for day in (today + number * DAY for number in range(366))
        if any(is_meant(name, day, holidays) for name in names)
    )

    assert clock.next_moment(deadline, now) == next((at for at in mornings if at > now), None)
