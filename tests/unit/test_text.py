"""How values are written for people."""

from freshness.app.text import week
from simulate.rhythm import office_rhythm


def test_the_week_of_data_that_changes_in_office_hours_has_its_high_bars_on_working_days() -> None:
    working_days, weekend = week(office_rhythm().by_hour).split(", ")[:2]

    bars = working_days.removeprefix("Monday to Friday ")
    assert len(bars) == 24
    assert bars[12] == "█"
    assert bars[3] == "▁"
    assert weekend == "Saturday and Sunday " + 24 * "▁"
