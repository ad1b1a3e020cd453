"""How values are written for people."""

from datetime import timedelta

import pytest

from freshness.app.text import duration, week
from simulate.rhythm import office_rhythm

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (None, "never"),
        (-MINUTE, "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (MINUTE, "1 min"),
        (HOUR - timedelta(seconds=1), "59 min"),
        (HOUR, "1 h"),
        (2 * HOUR - timedelta(seconds=1), "1 h 59 min"),
        (DAY - MINUTE, "23 h 59 min"),
        (DAY + 59 * MINUTE, "1 d"),
        (2 * DAY - MINUTE, "1 d 23 h"),
        (90 * DAY, "90 d"),
    ],
)
def test_a_duration_has_its_hours_and_minutes_or_its_days_and_hours(length: timedelta | None, text: str) -> None:
    assert duration(length) == text


def test_the_week_of_data_that_changes_in_office_hours_has_its_high_bars_on_working_days() -> None:
    working_days, weekend = week(office_rhythm().by_hour).split(", ")[:2]

    bars = working_days.removeprefix("Monday to Friday ")
    assert len(bars) == 24
    assert bars[12] == "█"
    assert bars[3] == "▁"
    assert weekend == "Saturday and Sunday " + 24 * "▁"
