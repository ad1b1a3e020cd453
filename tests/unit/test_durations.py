"""Durations: one notation for the policy file, the command line and the API."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.policy.file.values import LONGEST_DURATION, parse_duration


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
