"""A small fleet within some days, as `bench` simulates a large one for a week and a quarter: nothing said is false."""

import pytest

from bench.nothing_false import Week, simulate_week
from bench.what_codat_means import Quarter, simulate_quarter


def test_only_customers_whose_connections_lapsed_are_asked_and_nothing_that_exists_is_deleted() -> None:
    quarter = Quarter(days=11, unlinked=3, read_once=4, refused=6, lapsing=4, untouched=1, empty_lists=5)

    outcome = simulate_quarter(quarter)

    assert (outcome.asked_in_vain, outcome.not_asked) == ([], [])
    assert outcome.published["Relink needed"] == outcome.lapsed == quarter.lapsing
    assert outcome.published["Connection back"] == outcome.relinked == quarter.lapsing
    assert outcome.published["Connection done"] == quarter.read_once
    assert outcome.deleted == set()
    assert outcome.broken_needlessly == []


@pytest.mark.parametrize("lost", [0.05, 1.0], ids=lambda lost: f"{lost:.0%} of webhooks lost")
def test_what_is_said_through_an_outage_is_true(lost: float) -> None:
    outcome = simulate_week(Week(companies=6, hanging=1, callers=10, days=3, lost=lost))

    assert outcome.events["Promise broken"]
    assert outcome.answered
    assert outcome.false_fresh == []
    assert outcome.false_broken == []
    assert outcome.differing_ends == []
    assert outcome.without_end == []
