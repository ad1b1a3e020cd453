"""How values are written for people."""

from datetime import UTC, datetime, timedelta

import pytest

from freshness.app.reading.text import changed, duration

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


def test_whether_a_dataset_found_changes_is_said_with_from_when_on_they_are() -> None:
    since = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert changed(True, since) == "yes, from 2026-11-23 12:00:00 on"
    assert [changed(True, None), changed(False, since), changed(None, None)] == ["yes", "no", "-"]
