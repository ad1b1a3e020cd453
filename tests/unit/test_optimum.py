"""The yardstick of the planner's benchmark, by the numbers that its mathematics is known by."""

import numpy as np
import pytest

from bench.optimum import best_refreshes, mean_freshness

RATES = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
EQUAL = np.ones(5)


def test_the_best_refreshes_are_those_of_cho_and_garcia_molina() -> None:
    best = best_refreshes(RATES, EQUAL, 5.0)

    assert best == pytest.approx([1.150, 1.358, 1.354, 1.138, 0.000], abs=5e-4)
    assert mean_freshness(RATES, EQUAL, best) == pytest.approx(0.3739, abs=5e-5)


def test_refreshing_all_alike_or_in_proportion_to_their_changes_is_worse() -> None:
    assert mean_freshness(RATES, EQUAL, EQUAL) == pytest.approx(0.3651, abs=5e-5)
    assert mean_freshness(RATES, EQUAL, RATES / 3) == pytest.approx(0.3167, abs=5e-5)


def test_what_counts_more_is_refreshed_more() -> None:
    best = best_refreshes(np.ones(2), np.array([1.0, 4.0]), 3.0)

    assert best.sum() == pytest.approx(3.0)
    assert best[1] > best[0]
