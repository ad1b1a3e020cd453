"""The hours in which a customer's machine is usually online, learned from when its syncs ended."""

from datetime import UTC, datetime, timedelta

from freshness.domain.usual_hours import MIN_SYNCS, UsualHours, learn

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
SATURDAY = MONDAY + timedelta(days=5)
HOUR = timedelta(hours=1)
NIGHT = [MONDAY + hour * HOUR for hour in (19, 20, 22, 23, 24, 26, 28, 30)]


def test_nights_are_learned_across_midnight_and_small_gaps() -> None:
    usual = learn(NIGHT)

    assert usual.weekdays == frozenset({19, 20, 21, 22, 23, 0, 1, 2, 3, 4, 5, 6})
    assert str(usual) == "weekdays 19:00 to 07:00 UTC"
    assert usual.includes(MONDAY + 21 * HOUR)
    assert not usual.includes(MONDAY + 12 * HOUR)


def test_hours_are_unknown_from_few_syncs() -> None:
    assert not learn(NIGHT[: MIN_SYNCS - 1]).is_known
    assert learn(NIGHT[:MIN_SYNCS]).is_known
    assert not learn([]).includes(MONDAY)


def test_weekends_are_learned_apart_from_weekdays() -> None:
    usual = learn([*NIGHT, *(SATURDAY + hour * HOUR for hour in range(0, 48, 2))])

    assert usual.includes(SATURDAY + 12 * HOUR)
    assert not usual.includes(MONDAY + 12 * HOUR)
    assert str(usual) == "weekdays 19:00 to 07:00 UTC; weekends at any time"


def test_the_time_online_is_what_falls_into_the_usual_hours() -> None:
    usual = UsualHours(weekdays=frozenset(range(9, 17)), weekends=None)

    assert usual.time_online(MONDAY + 7 * HOUR, MONDAY + 9.5 * HOUR) == HOUR / 2
    assert usual.time_online(MONDAY + 17 * HOUR, MONDAY + 32 * HOUR) == timedelta(0)
    assert usual.time_online(MONDAY, MONDAY + 24 * HOUR) == 8 * HOUR
    assert usual.time_online(SATURDAY, SATURDAY + 24 * HOUR) == timedelta(0)
