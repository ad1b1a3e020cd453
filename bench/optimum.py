"""The highest mean freshness that evenly spaced refreshes can reach if every change rate is known.

Feed i changes as a Poisson process with the rate `rates[i]` a day, has the weight `weights[i]`, and is refreshed
`refreshes[i]` times a day. Cho and Garcia-Molina (TODS 2003) show that with the optimal frequencies the marginal value
of a refresh is the same for all feeds that are refreshed, and lower for the feeds that never are.
"""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

STEPS = 60
"""Steps of a bisection, enough for the precision of a float."""


def mean_freshness(rates: Numbers, weights: Numbers, refreshes: Numbers) -> float:
    """Return the weighted mean share of time in which a copy is up to date; 0 for a feed that is never refreshed."""
    changes = np.divide(rates, refreshes, out=np.full_like(rates, np.inf), where=refreshes > 0)
    return float(np.average(-np.expm1(-changes) / changes, weights=weights))


def best_refreshes(rates: Numbers, weights: Numbers, total: float) -> Numbers:
    """Return the refreshes a day of each feed, `total` in all, that make the mean freshness highest."""
    low, high = 0.0, float(np.max(weights / rates))
    for _ in range(STEPS):
        middle = (low + high) / 2
        if np.sum(_refreshes_at(middle, rates, weights)) > total:
            low = middle
        else:
            high = middle
    return _refreshes_at(high, rates, weights)


def _refreshes_at(marginal: float, rates: Numbers, weights: Numbers) -> Numbers:
    """Return the refreshes a day of each feed at which the marginal value of a refresh is `marginal`.

    It is 0 where even the first refresh has a lower value. With x changes between two refreshes, x is the root of
    1 - exp(-x) (1 + x) = marginal * rate / weight.
    """
    wanted = marginal * rates / weights
    low, high = np.zeros_like(rates), np.full_like(rates, 100.0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        below = -np.expm1(-middle) - middle * np.exp(-middle) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(wanted < 1, rates / np.maximum(high, 1e-12), 0.0)
