"""The optimal refresh rates that the planner's benchmark compares with, checked against published numbers."""

import numpy as np
import pytest

from bench.optimum import best_refreshes, mean_freshness

RATES = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
EQUAL = np.ones(5)


def test_the_optimal_rates_are_those_published_by_cho_and_garcia_molina() -> None:
    best = best_refreshes(RATES, EQUAL, 5.0)

    assert best == pytest.approx([1.150, 1.358, 1.354, 1.138, 0.000], abs=5e-4)
    assert mean_freshness(RATES, EQUAL, best) == pytest.approx(0.3739, abs=5e-5)


def test_equal_rates_and_rates_proportional_to_changes_are_worse() -> None:
    assert mean_freshness(RATES, EQUAL, EQUAL) == pytest.approx(0.3651, abs=5e-5)
    assert mean_freshness(RATES, EQUAL, RATES / 3) == pytest.approx(0.3167, abs=5e-5)


def test_a_higher_weight_gives_a_higher_rate() -> None:
    best = best_refreshes(np.ones(2), np.array([1.0, 4.0]), 3.0)

    assert best.sum() == pytest.approx(3.0)
    assert best[1] > best[0]
