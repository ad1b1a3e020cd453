"""How often feeds change at their source: the rate estimated from their syncs, and what follows from it.

The changes of a feed are modelled as a Poisson process. Rates are in changes a day, and time spans in days. The methods
are those of Cho and Garcia-Molina, "Estimating frequency of change" (TOIT 2003), and of Azar et al. (PNAS 2018).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

MAX_ITERATIONS = 100
TOLERANCE = 1e-4
"""Newton's method stops after a step of this relative size."""
SIGNIFICANT_DIGITS = 2
"""The few syncs that are kept give a rate to within a fifth at best: more digits would only cause writes."""
SERIES_BELOW = 1e-3
"""The value of x below which `1 - exp(-x) * (1 + x)` loses precision. The first term of its series is used instead."""
PRIOR_WEIGHT = 0.25
"""The weight of the expected rate as compared to an observation: feeds of one kind differ by a factor of about four."""
HALF_LIFE, HALF_LIFE_OF_LAST = 8.0, 2.0
"""An observation counts half as much after this many later ones: among all, and among the last few after a jump."""
LAST = 4
"""How many of the last observations show that the rate has jumped."""
JUMP = 1.5
"""How much more likely, in log-likelihood, a new rate must make the last observations: with less, jumps are false."""
MIN_PROBABILITY = 1e-300
"""A lower probability counts as this one: the logarithm of 0 does not exist."""
MAX_EXPONENT = 700.0
"""The exponential of a larger number overflows a float."""
MIN_RATE = 1e-9
"""The lowest rate that is estimated: one change in about three million years, which is effectively zero."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of one sync: whether anything had changed in the `days` since the previous sync."""

    days: float
    changed: bool


def change_rate(observations: Iterable[Observation], expected: float) -> float:
    """Return the rate that makes the observations, oldest first, most likely. It is always finite and positive.

    Rates change: an observation counts half as much after every `HALF_LIFE` later ones. If the last few are
    nevertheless much more likely at a different rate, the rate has jumped, and only they count.

    `expected` is the rate expected without any observation. It counts as two more observations of a lower weight, one
    of a change and one of no change, which together make `expected` the most likely rate. Its influence decreases with
    the number of observations.
    """
    known = [observation for observation in observations if observation.days > 0]
    rate, last = _estimate(known, expected, HALF_LIFE), known[-LAST:]
    if len(known) > LAST:
        jumped = _estimate(last, rate, HALF_LIFE_OF_LAST)
        if _log_likelihood(last, jumped) - _log_likelihood(last, rate) > JUMP:
            rate = jumped
    return float(f"{rate:.{SIGNIFICANT_DIGITS}g}")


def _estimate(observations: Sequence[Observation], expected: float, half_life: float) -> float:
    span = math.log(2) / expected
    changed, unchanged = [(span, PRIOR_WEIGHT)], PRIOR_WEIGHT * span
    for later, observation in enumerate(reversed(observations)):
        weight = 0.5 ** (later / half_life)
        if observation.changed:
            changed.append((observation.days, weight))
        else:
            unchanged += weight * observation.days
    return max(_most_likely(changed, unchanged), MIN_RATE)


def _log_likelihood(observations: Iterable[Observation], rate: float) -> float:
    return sum(
        math.log(max(-math.expm1(-rate * observation.days), MIN_PROBABILITY))
        if observation.changed
        else -rate * observation.days
        for observation in observations
    )


def _most_likely(changed: Sequence[tuple[float, float]], unchanged: float) -> float:
    """Solve Σ weight · days / (exp(rate · days) - 1) = unchanged for the rate, by Newton's method.

    `changed` holds the days and the weight of each observation of a change, and `unchanged` the weighted sum of the
    days without one. The left side decreases and is convex in the rate, so that each step from below the root comes
    closer and none overshoots. The iteration starts at a lower bound of the root: the rate if each observation of a
    change saw exactly one.
    """
    rate = sum(weight for _, weight in changed) / (sum(days * weight for days, weight in changed) + unchanged)
    for _ in range(MAX_ITERATIONS):
        excess, slope = -unchanged, 0.0
        for days, weight in changed:
            growth = math.expm1(min(rate * days, MAX_EXPONENT))
            excess += weight * days / growth
            slope += weight * days / growth * days * (1 + 1 / growth)
        step = excess / slope
        rate += step
        if step <= TOLERANCE * rate:
            break
    return rate


def unchanged_probability(rate: float, days: float) -> float:
    """Return the probability that data that changes `rate` times a day did not change in `days` days."""
    return math.exp(-rate * max(days, 0.0))


def confident_days(confidence: float, rate: float) -> float:
    """Return how many days after a sync the probability that nothing has changed falls to `confidence`."""
    return min(-math.log(confidence) / rate, timedelta.max.days / 2)


def value_of_first_read(weight: float, rate: float) -> float:
    """Return the value of a feed's first read: the part of the next day that it keeps the feed up to date, weighted."""
    return weight * -math.expm1(-rate) / rate


def value_of_refreshing(weight: float, rate: float, days: float) -> float:
    """Return the value of refreshing a feed now, `days` after its last sync, in weighted days of being up to date.

    Where not all feeds can be refreshed, those with the highest value should be. The value grows with `days` from 0 to
    `weight / rate`, so that feeds that change faster than they can be refreshed come last.
    """
    changes = rate * days
    if changes < SERIES_BELOW:
        return weight * rate * days * days / 2
    return weight / rate * (1 - math.exp(-changes) * (1 + changes))
