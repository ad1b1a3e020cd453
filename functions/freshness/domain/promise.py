"""What the policy promises of one feed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from freshness.domain.rhythm import STEADY, Rhythm
from freshness.domain.windows import Window

if TYPE_CHECKING:
    from freshness.domain.clock import Clock

DAY = timedelta(days=1)
AT_MOST_EVERY = timedelta(hours=1)
"""How often `confidence` may cause a refresh by default: Codat recommends hourly refreshes for few data types only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What attainment is measured by, beside the data type."""

    rule: str = ""
    """The table of the policy that sets `fresh_within` or `off`, such as `rule "free plan"`."""
    platform: str = ""
    tags: tuple[str, ...] = ()
    """The tags of the company that the policy selects by, each as `name=value`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """How old one data type of a company, read from one connection, may be."""

    fresh_within: timedelta
    """The bound on its age, which holds whatever the other fields say."""
    warn_after: timedelta | None = None
    """The age at which an alarm warns, if any; never below `fresh_within`."""
    confidence: float | None = None
    """The required probability, from 0 to 1, that nothing changed since the last sync; `None` for the bound alone."""
    at_most_every: timedelta = AT_MOST_EVERY
    """How soon after a sync `confidence` may cause the next; never above `fresh_within`."""
    weight: float = 1.0
    """How much the feed counts relative to others where the budget is too small for all."""
    off: bool = False
    """Whether nothing is promised: the feed is never refreshed."""
    windows: tuple[Window, ...] = ()
    """When it may, or may not, be refreshed."""
    matters: tuple[Window, ...] = ()
    """When it matters that the data is up to date, if not always: `confidence` causes no refresh at other times."""
    fleet_changes_per_day: float | None = None
    """How often other feeds of its platform and data type change at the source, if that was learned."""
    rhythm: Rhythm = STEADY
    """In which hours of the week the feeds of its platform and data type change."""
    place: str = ""
    """The table of the policy that sets `fresh_within` or `off`, with its file and line."""
    group: Group = Group()
    """What its attainment is measured by."""
    clock: "Clock | None" = None
    """What depends on the time of day, if anything: the other fields are then what holds outside all hours."""

    def at(self, now: datetime) -> "Promise":
        """Return the promise in force at a time."""
        return self.clock.in_force(now) if self.clock else self

    def breaks_at(self, succeeded_at: datetime) -> datetime:
        """Return when a copy made at a time is first older than is promised at that moment."""
        if self.clock is None:
            return succeeded_at + self.fresh_within
        too_old_at, _ = self.clock.first_reached(succeeded_at, fresh_within)
        missed = self.clock.first_missed(succeeded_at, too_old_at)
        return missed.at if missed else too_old_at

    def is_kept(self, succeeded_at: datetime, now: datetime) -> bool:
        """Return whether a copy made at a time is as fresh as is promised now, and met all deadlines since."""
        in_force = self.at(now)
        if now - succeeded_at > in_force.fresh_within:
            return False
        return self.clock is None or self.clock.first_missed(succeeded_at, now) is None

    @property
    def expected_changes_per_day(self) -> float:
        """Return how often the feed is assumed to change while nothing was learned of the feed itself.

        Where nothing was learned of similar feeds either, about one change is assumed within `fresh_within`.
        """
        return self.fleet_changes_per_day or DAY / self.fresh_within


def fresh_within(promise: Promise) -> timedelta:
    """Return the bound on the age."""
    return promise.fresh_within
