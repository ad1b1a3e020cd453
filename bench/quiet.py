"""How many sources that are alive are reported as quiet, and how soon those that stopped are found.

The feeds of `bench.planner` are synced every six hours for a year. Each is judged after every sync by
`freshness.domain.quiet.is_too_long`, from the sums that its history and what was dropped from it amount to. Then all of
them stop.
"""

import numpy as np
from numpy.typing import NDArray

from bench.figures import Figure, show
from bench.optimum import Numbers
from bench.simulated_fleet import COMPANIES, EVERY, MEDIAN_CHANGES, true_rates
from freshness.domain.feed import DAY
from freshness.domain.quiet import MEMORY, MIN_CHANGES, is_too_long

YEAR, MONTH = 365, 30
FOUND_WITHIN = 12
"""Expected changes within which a source that stopped should be found."""
SUSPICIOUS = 4.0
"""Expected changes of a silence below which none is too long."""


class Fleet:
    """What is known of each feed: changes and days, weighted as `informative` does, and its silence in days."""

    def __init__(self, rates: Numbers) -> None:
        self.rates = rates
        self.found, self.changes, self.days, self.silence = (np.zeros_like(rates) for _ in range(4))
        self.quiet = np.zeros(len(rates), dtype=bool)

    def sync(self, changed: NDArray[np.bool_], every: float) -> None:
        """Record a sync of each feed."""
        x = every * (self.changes + 1) / (self.days + 1 / MEDIAN_CHANGES)
        weight = x / np.expm1(x)
        self.silence += every
        self.found[changed] += 1
        self.changes[changed] += (weight * x / -np.expm1(-x))[changed]
        self.days[changed] += (weight * self.silence)[changed]
        self.silence[changed] = 0
        self.quiet[changed] = False
        forgotten = self.found > MEMORY
        for sums in (self.found, self.changes, self.days):
            sums[forgotten] /= 2

    def too_long(self, silence: Numbers) -> NDArray[np.bool_]:
        """Return which feeds are judged to be quiet."""
        known = self.changes >= MIN_CHANGES
        judged = np.zeros(len(self.rates), dtype=bool)
        for index in np.flatnonzero(known & (silence * self.changes > SUSPICIOUS * self.days)):
            judged[index] = is_too_long(silence[index], self.changes[index], self.days[index])
        return judged


def measure() -> list[Figure]:
    """Measure false alarms in the second half of the year, and which sources are found after it."""
    fleet, random, every = Fleet(true_rates(COMPANIES)), np.random.default_rng(1), EVERY / DAY
    probability = -np.expm1(-fleet.rates * every)
    steps, alarms = round(YEAR / every), 0
    for step in range(steps):
        fleet.sync(random.random(len(fleet.rates)) < probability, every)
        judged = fleet.too_long(fleet.silence) & ~fleet.quiet
        fleet.quiet |= judged
        alarms += int(judged.sum()) if step >= steps / 2 else 0
    known = (fleet.changes >= MIN_CHANGES) & ~fleet.quiet
    syncs = np.floor(FOUND_WITHIN / fleet.rates / every)
    found = fleet.too_long(fleet.silence + syncs * every)
    feed_months = len(fleet.rates) * YEAR / 2 / MONTH
    return [
        Figure(
            what="sources reported as quiet that are alive",
            value=1000 * alarms / feed_months,
            unit="of 1,000 a month",
            against=f"{alarms} in {feed_months:,.0f} months of feeds",
            at_most=1.0,
        ),
        Figure(
            what=f"sources that stopped found within {FOUND_WITHIN} expected changes",
            value=100 * float(found[known].mean()),
            unit="%",
            against=f"those {known.mean():.0%} of which {MIN_CHANGES:.0f} changes were seen in a year",
            at_least=95.0,
        ),
    ]


if __name__ == "__main__":
    show("Quiet sources", measure())
