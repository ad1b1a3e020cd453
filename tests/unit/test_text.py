"""How values are written for people, and durations read."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.app.reading.text import changed, changes, duration, read_times
from freshness.policy.file.values import LONGEST_DURATION, parse_duration
from tests.builders import DAY, HOUR, MINUTE


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


def test_when_a_copy_was_read_is_said_with_the_time_from_which_its_age_counts() -> None:
    end = datetime(2026, 11, 23, 12, tzinfo=UTC)
    said = "ended 2026-11-23 12:00:00 UTC, from when its age counts"
    assert read_times(end, end - 2 * HOUR, False) == f"requested 2026-11-23 10:00:00, {said}"
    assert read_times(end, end - HOUR / 2, True) == f"{said}; when it began is not known"


def test_a_rate_of_change_that_is_assumed_is_not_said_to_be_learned() -> None:
    assert changes(4, True) == "about 4 times a day, as learned from its syncs"
    assert changes(0.999, True) == "about once a day, as learned from its syncs"
    assert changes(4, False) == "about 4 times a day, assumed until its own syncs show it"


def test_whether_a_dataset_found_changes_is_said_with_from_when_on_they_are() -> None:
    since = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert changed(True, since) == "yes, from 2026-11-23 12:00:00 on"
    assert [changed(True, None), changed(False, since), changed(None, None)] == ["yes", "no", "-"]


@pytest.mark.parametrize(
    ("texts", "duration"),
    [
        (("90 seconds", "90s", "90 s", "PT90S", "PT1M30S"), timedelta(seconds=90)),
        (("30 minutes", "30m", "30 min", "PT30M"), timedelta(minutes=30)),
        (("1 hour", "1h", "PT1H", "60 minutes", "PT60M"), timedelta(hours=1)),
        (("1 day", "1d", "P1D", "24h", "PT24H"), timedelta(days=1)),
        (("2 weeks", "2w", "P2W", "P14D"), timedelta(weeks=2)),
        (("P1DT12H",), timedelta(days=1.5)),
        (("366 days", "P366D"), LONGEST_DURATION),
    ],
)
def test_a_duration_is_the_same_in_all_notations(texts: tuple[str, ...], duration: timedelta) -> None:
    assert {parse_duration(text) for text in texts} == {duration}


@pytest.mark.parametrize(
    "text",
    ["", "soon", "1", "-1h", "0h", "P", "PT", "P1DT", "P1M", "P1Y", "1.5h", "1 h 30 m", "367 days", "9" * 9999],
)
def test_what_is_no_duration_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration") as raised:
        parse_duration(text)
    assert len(str(raised.value)) < 200


@given(st.text() | st.integers() | st.floats() | st.none() | st.lists(st.text()))
def test_any_value_is_a_duration_or_refused(value: object) -> None:
    try:
        duration = parse_duration(value)
    except ValueError:
        return
    assert timedelta() < duration <= LONGEST_DURATION
