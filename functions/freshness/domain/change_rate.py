"""How often feeds change at their source, learned from what each sync found, and what follows from it.

A feed is taken to change as a Poisson process. Rates are in changes a day, spans of time in days. The mathematics is
that of Cho and Garcia-Molina, "Estimating frequency of change" (TOIT 2003), and of Azar et al. (PNAS 2018).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

STEPS = 100
CLOSE_ENOUGH = 1e-4
SIGNIFICANT_DIGITS = 2
"""A rate is known to a fifth of itself at best, from as few syncs as are kept: more digits would only cause writes."""
TELLING = 8
"""SyncHistory from which on a feed knows enough of itself to tell of its like."""
MEMORY = 500
"""How many feeds, the latest, the rate of a kind of feeds goes by."""
SMALL = 1e-3
"""Below this, `1 - exp(-x) * (1 + x)` loses its digits, and the first term of its series is used."""
PART = 0.25
"""How much what is expected of a feed counts, beside what was observed: its like differ by a factor of four or so."""
LARGE = 700.0
"""The exponential of more than this is more than a float can hold."""
LOWEST = 1e-9
"""The lowest rate that is ever learned: once in more years than anything lasts."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one sync told: whether anything had changed in the days since the sync before."""

    days: float
    changed: bool


def change_rate(observations: Iterable[Observation], expected: float) -> float:
    """The rate that makes what was observed most likely, always finite and positive.

    `expected`, a rate, counts as a part of two observations besides: one of a change and one of none, which together
    make `expected` itself most likely. So it decides where nothing was observed, and gives way as more is.
    """
    span = math.log(2) / expected
    changed, unchanged = [(span, PART)], PART * span
    for observation in observations:
        if observation.days > 0 and observation.changed:
            changed.append((observation.days, 1.0))
        elif observation.days > 0:
            unchanged += observation.days
    rate = max(_most_likely(changed, unchanged), LOWEST)
    return float(f"{rate:.{SIGNIFICANT_DIGITS}g}")


def _most_likely(changed: Sequence[tuple[float, float]], unchanged: float) -> float:
    """The root of Σ t / (exp(rate t) - 1) over the changed = the sum of the unchanged, by Newton's method.

    Each of the changed is a time and how much it counts. The left side falls and is convex, so that from below the
    root each step comes nearer and none goes beyond it. The expected number of changes is at least that of the
    changed, which gives the start.
    """
    rate = sum(counts for _, counts in changed) / (sum(days * counts for days, counts in changed) + unchanged)
    for _ in range(STEPS):
        excess, slope = -unchanged, 0.0
        for days, counts in changed:
            growth = math.expm1(min(rate * days, LARGE))
            excess += counts * days / growth
            slope += counts * days / growth * days * (1 + 1 / growth)
        step = excess / slope
        rate += step
        if step <= CLOSE_ENOUGH * rate:
            break
    return rate


def confident_for(confidence: float, rate: float) -> timedelta:
    """How long after a sync it is still as likely as `confidence` that nothing has changed."""
    return timedelta(days=min(-math.log(confidence) / rate, timedelta.max.days / 2))


def value_of_refreshing(weight: float, rate: float, days: float) -> float:
    """What a refresh adds now to the weighted share of time in which the copy is current, `days` after the last sync.

    It is the index by which refreshes are best chosen if there are too few for all: it grows with `days` from 0 up to
    `weight / rate`, so that what changes faster than it can be followed comes last.
    """
    changes = rate * days
    if changes < SMALL:
        return weight * rate * days * days / 2
    return weight / rate * (1 - math.exp(-changes) * (1 + changes))


@dataclass(frozen=True, slots=True)
class KindRate:
    """The rate of feeds of one platform and data type: the mean of its logarithm over the `feeds` heard of."""

    feeds: int
    mean_log: float

    def and_one(self, rate: float) -> "KindRate":
        """The rate after another feed of the kind was heard of."""
        feeds = min(self.feeds + 1, MEMORY)
        return KindRate(feeds, self.mean_log + (math.log(rate) - self.mean_log) / feeds)


@dataclass(frozen=True, slots=True)
class FleetRates:
    """How often feeds of each platform and data type change. What is not known of a feed is expected of its kind."""

    by_kind: dict[str, KindRate] = field(default_factory=dict)
    """By the names of platform and data type, with a slash between."""

    def expected(self, platform: str, data_type: str) -> float | None:
        """The rate to expect of a feed of a kind; `None` if none of its kind has been heard of."""
        kind = self.by_kind.get(f"{platform}/{data_type}")
        return math.exp(kind.mean_log) if kind else None

    def with_feeds(self, rates: Iterable[tuple[str, str, float]]) -> "FleetRates":
        """The rates after feeds were heard of, each by platform, data type and its own rate."""
        by_kind = dict(self.by_kind)
        for platform, data_type, rate in rates:
            kind = f"{platform}/{data_type}"
            by_kind[kind] = by_kind.get(kind, KindRate(0, 0.0)).and_one(rate)
        return replace(self, by_kind=by_kind)
