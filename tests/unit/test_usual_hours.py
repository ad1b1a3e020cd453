"""The hours in which a customer's machine is usually online, learned from when its syncs ended."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.app.obstacles import OFFLINE_AFTER
from freshness.domain.usual_hours import MIN_SYNCS, UsualHours, learn

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
SATURDAY = MONDAY + timedelta(days=5)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def every_hour(
    start: datetime, days: int, zone: tzinfo, hours: range, weekdays: range = range(7)
) -> Iterator[datetime]:
    """Yield when two data types were read in each hour, by a customer's clock, of days that begin on some weekdays."""
    for day in range(days):
        date = (start + day * DAY).date()
        for hour in hours:
            if date.weekday() in weekdays:
                at = datetime(date.year, date.month, date.day, hour % 24, 30, tzinfo=zone)
                yield from [(at + (hour // 24) * DAY).astimezone(UTC)] * 2


NIGHT = range(19, 31)
OFFICE = range(9, 17)


def test_nights_are_learned_across_midnight_and_small_gaps() -> None:
    usual = learn(MONDAY + day * DAY + hour * HOUR for day in (1, 2) for hour in (19, 20, 22, 23, 24, 26, 28, 30))

    assert str(usual) == "Tue to Thu 19:00 to 07:00 UTC"
    assert usual.includes(MONDAY + DAY + 21 * HOUR)
    assert not usual.includes(MONDAY + DAY + 12 * HOUR)


def test_hours_are_unknown_from_few_syncs() -> None:
    hours = [MONDAY + day * DAY + 19 * HOUR for day in range(1, 5)]

    assert not learn([]).is_known
    assert not learn(hours).is_known
    assert learn(hours * 2).is_known


def test_hours_are_unknown_from_many_syncs_within_two_days() -> None:
    """When a connection is linked, everything is read once, at an hour that says nothing."""
    linked = [MONDAY + DAY + 14 * HOUR] * 20

    assert not learn([*linked, MONDAY + 2 * DAY + 19 * HOUR]).is_known


def test_a_night_that_no_weekend_begins_is_not_expected_on_monday() -> None:
    """On weekdays only: Saturday has the end of Friday's night, and Monday not that of Sunday's."""
    usual = learn(every_hour(MONDAY, 10, UTC, NIGHT, weekdays=range(5)))

    next_saturday, next_monday = SATURDAY + 7 * DAY, MONDAY + 14 * DAY
    assert usual.time_online(next_saturday, next_saturday + DAY) == 7 * HOUR
    assert usual.time_online(next_saturday + 7 * HOUR, next_monday + 19 * HOUR) == timedelta(0)
    assert usual.time_online(next_monday, next_monday + DAY) == 5 * HOUR


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/London", "Pacific/Auckland"])
def test_codats_default_is_learned_in_any_time_zone(zone: str) -> None:
    customer = ZoneInfo(zone)
    ends = [
        *every_hour(MONDAY, 14, customer, NIGHT, weekdays=range(5)),
        *every_hour(MONDAY, 14, customer, range(24), weekdays=range(5, 7)),
    ]
    usual = learn(ends)

    for day in range(14, 21):
        at = datetime.combine((MONDAY + day * DAY).date(), datetime.min.time(), customer)
        is_weekend = at.weekday() >= 5
        assert is_weekend or not usual.includes((at + 12 * HOUR).astimezone(UTC)), at
        assert usual.includes((at + 22 * HOUR).astimezone(UTC)), at


@pytest.mark.parametrize("change", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])
def test_a_machine_is_not_offline_because_clocks_changed(change: datetime) -> None:
    """On the days after it, the machine comes online an hour earlier or later than was learned."""
    london = ZoneInfo("Europe/London")
    usual = learn(every_hour(change - 14 * DAY, 13, london, NIGHT))

    for day in range(1, 8):
        date = (change + day * DAY).date()
        closes, opens = (datetime(date.year, date.month, date.day, hour, tzinfo=london) for hour in (7, 19))
        assert usual.time_online(closes.astimezone(UTC), opens.astimezone(UTC)) < OFFLINE_AFTER


def test_changed_hours_are_learned_within_nine_days() -> None:
    nights = every_hour(MONDAY, 28, UTC, NIGHT)
    days = every_hour(MONDAY + 29 * DAY, 9, UTC, OFFICE)
    usual = learn([*nights, *days])

    assert usual.time_online(MONDAY + 38 * DAY + 17 * HOUR, MONDAY + 39 * DAY + 9 * HOUR) == timedelta(0)
    assert usual.time_online(MONDAY + 39 * DAY, MONDAY + 40 * DAY) == 8 * HOUR


def test_kinds_of_days_with_the_same_hours_are_shown_together() -> None:
    usual = learn(
        [*every_hour(MONDAY, 9, UTC, OFFICE, range(5)), *every_hour(MONDAY, 7, UTC, range(24), weekdays=range(5, 7))]
    )

    assert str(usual) == "Mon, Tue to Thu, Fri 09:00 to 17:00 UTC; Sat, Sun at any time"


def test_the_time_online_is_what_falls_into_the_usual_hours() -> None:
    usual = UsualHours({"Mon": frozenset(OFFICE), "Tue to Thu": frozenset(OFFICE)})

    assert usual.time_online(MONDAY + 7 * HOUR, MONDAY + 9.5 * HOUR) == HOUR / 2
    assert usual.time_online(MONDAY + 17 * HOUR, MONDAY + 32 * HOUR) == timedelta(0)
    assert usual.time_online(MONDAY, MONDAY + 24 * HOUR) == 8 * HOUR
    assert usual.time_online(SATURDAY, SATURDAY + 24 * HOUR) == timedelta(0)


@given(ends=st.lists(st.datetimes(timezones=st.just(UTC)), max_size=40))
def test_whatever_is_learned_has_as_many_syncs_as_it_takes(ends: list[datetime]) -> None:
    usual = learn(ends)

    assert not usual.is_known or len(ends) >= MIN_SYNCS
    assert str(usual) or not usual.is_known
