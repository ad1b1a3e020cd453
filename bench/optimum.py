"""The yardstick: the best that evenly spaced refreshes can do if every rate of change is known.

Feed i changes as a Poisson process of rate `rates[i]` a day, counts `weights[i]`, and is refreshed `refreshes[i]` times
a day. Cho and Garcia-Molina (TODS 2003) show that the best frequencies have one marginal value for all feeds that are
refreshed at all, and leave alone those that cannot reach it.
"""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

STEPS = 60
"""Halvings of an interval: enough to use up a float's digits."""


def mean_freshness(rates: Numbers, weights: Numbers, refreshes: Numbers) -> float:
    """The weighted mean share of time in which a feed's copy is current; a feed never refreshed has 0."""
    changes = np.divide(rates, refreshes, out=np.full_like(rates, np.inf), where=refreshes > 0)
    return float(np.average(-np.expm1(-changes) / changes, weights=weights))


def best_refreshes(rates: Numbers, weights: Numbers, total: float) -> Numbers:
    """The refreshes a day of each feed, `total` in all, that make the mean freshness greatest."""
    low, high = 0.0, float(np.max(weights / rates))
    for _ in range(STEPS):
        middle = (low + high) / 2
        if np.sum(_refreshes_at(middle, rates, weights)) > total:
            low = middle
        else:
            high = middle
    return _refreshes_at(high, rates, weights)


def _refreshes_at(marginal: float, rates: Numbers, weights: Numbers) -> Numbers:
    """The refreshes a day at which one more of a feed is worth `marginal`: none where even the first is worth less.

    With x changes between two refreshes that is the root of 1 - exp(-x) (1 + x) = marginal * rate / weight.
    """
    wanted = marginal * rates / weights
    low, high = np.zeros_like(rates), np.full_like(rates, 100.0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        below = -np.expm1(-middle) - middle * np.exp(-middle) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(wanted < 1, rates / np.maximum(high, 1e-12), 0.0)
