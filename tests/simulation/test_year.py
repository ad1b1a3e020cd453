"""Deadlines over weeks in which clocks change and holidays fall, in three time zones."""

from datetime import UTC, datetime

import pytest

from simulate.year import DATA_TYPES, Year, policy


@pytest.mark.parametrize("start", [datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 9, 28, tzinfo=UTC)])
def test_deadlines_are_met_with_one_refresh_each_while_clocks_change(start: datetime) -> None:
    year = Year(companies=12, policy=policy("1 week"), start=start, days=42)

    year.run()

    deadlines = year.met + year.missed + year.unreachable
    assert deadlines > 27 * 12 * len(DATA_TYPES)
    assert year.met >= 0.995 * (year.met + year.missed)
    assert year.calls < 1.1 * deadlines
