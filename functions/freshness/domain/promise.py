"""What is promised of one feed."""

from dataclasses import dataclass
from datetime import timedelta

from freshness.domain.windows import Window

DAY = timedelta(days=1)
AT_MOST_EVERY = timedelta(hours=1)
"""How often `confidence` may ask for a refresh where the policy does not say: Codat advises it for few types only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """How old one data type of a company, read from one connection, may be."""

    fresh_within: timedelta
    """The bound on its age, which holds whatever else is said here."""
    warn_after: timedelta | None = None
    """The age at which a person is to be told, if any; never below `fresh_within`."""
    confidence: float | None = None
    """How likely nothing must have changed since the last sync, from 0 to 1; the bound alone counts if not given."""
    at_most_every: timedelta = AT_MOST_EVERY
    """How soon after a sync `confidence` may ask for the next; never above `fresh_within`."""
    weight: float = 1.0
    """How much it counts, beside others, where the budget does not reach for all."""
    off: bool = False
    """Nothing is promised: it is never refreshed."""
    windows: tuple[Window, ...] = ()
    """When it may, or may not, be refreshed."""
    fleet_changes_per_day: float | None = None
    """How often other feeds of its platform and data type change at the source, if that has been learned."""
    place: str = ""
    """The file, line and table of the policy that said `fresh_within`, or `off`."""

    @property
    def expected_changes_per_day(self) -> float:
        """How often it is taken to change as long as nothing was learned of the feed itself.

        Where nothing was learned of its like either, a promise is taken to be chosen so that about one change
        falls within it.
        """
        return self.fleet_changes_per_day or DAY / self.fresh_within
