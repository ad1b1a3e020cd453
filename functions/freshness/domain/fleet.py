"""What is learned of all feeds: how often, and when in the week, those of one platform and data type, a *kind*, change;
and when in the week data is read.

It is a value that is added up from samples, in any order, so that several processes can learn.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import UTC, tzinfo
from functools import reduce
from typing import NamedTuple

from freshness.domain.rhythm import NO_COUNTS, STEADY, HourCounts, Rhythm, SyncInterval, counted, evidence
from freshness.domain.value import value

MAX_FEEDS = 500
"""The maximum number of feeds that the rate of a kind is averaged over. Earlier feeds lose weight beyond it."""
PASSES = 10
"""Steps of expectation maximisation over the same samples: each makes the rhythm sharper."""
MOST_EVIDENCE = 20.0
"""How much evidence for or against a rhythm counts, so that it is noticed if that changes."""
IMPROBABLE = 0.01
"""The probability of a rhythm below which it is left out."""


class FeedSample(NamedTuple):
    """What the syncs of one feed showed since it was last queued."""

    kind: str
    rate: float
    """How many times a day the feed changes."""
    intervals: tuple[SyncInterval, ...]
    zone: tzinfo = UTC
    """The time zone whose hours the rhythm of the kind is in."""


def kind_of(platform: str, data_type: str) -> str:
    """Return the name of a kind."""
    return f"{platform}/{data_type}"


@value(kw_only=False)
class KindRate:
    """The rate of the feeds of one kind: the mean of its logarithm over `feeds` feeds."""

    feeds: int
    mean_log: float

    def merged(self, other: "KindRate") -> "KindRate":
        """Return the rate after other feeds were added to the mean."""
        feeds = min(self.feeds + other.feeds, MAX_FEEDS)
        return KindRate(feeds, self.mean_log + (other.mean_log - self.mean_log) * min(other.feeds / feeds, 1.0))


@value(kw_only=False)
class Kind:
    """What was learned of one kind."""

    rate: KindRate
    hours: HourCounts = NO_COUNTS
    evidence: float = 0.0
    """The logarithm of how much more probable the rhythm known before made what syncs showed than a constant rate."""

    def merged(self, other: "Kind") -> "Kind":
        """Return what was learned from both."""
        evidence = max(-MOST_EVIDENCE, min(self.evidence + other.evidence, MOST_EVIDENCE))
        return Kind(self.rate.merged(other.rate), self.hours.merged(other.hours), evidence)

    def rhythm(self, zone: tzinfo = UTC) -> Rhythm:
        """Return the rhythm, averaged with a constant rate by how probable each of them is.

        What chance makes of an hour would otherwise count as a rhythm: the planner looks for hours in which much is
        said to change, and so for those that are overestimated.
        """
        probability = 1 / (1 + math.exp(-self.evidence))
        if not self.hours.weight or probability < IMPROBABLE:
            return STEADY
        return Rhythm(tuple(1 + probability * (each - 1) for each in self.hours.rhythm().by_hour), zone)


@value(kw_only=False)
class Fleet:
    """What was learned of each kind, by its name: what is expected of a feed without a sync history."""

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    reads: HourCounts = NO_COUNTS
    """How often data was asked for in each hour of the week, in the local time of each company."""

    def expected(self, platform: str, data_type: str) -> float | None:
        """Return the rate to expect of a feed, in changes a day, or `None` if no rate of its kind is known."""
        kind = self.kinds.get(kind_of(platform, data_type))
        return math.exp(kind.rate.mean_log) if kind else None

    def rhythm(self, platform: str, data_type: str, zone: tzinfo = UTC) -> Rhythm:
        """Return in which hours of the week, by the clock of a zone, the feeds of a kind change."""
        kind = self.kinds.get(kind_of(platform, data_type))
        return kind.rhythm(zone) if kind else STEADY

    def when_read(self, zone: tzinfo = UTC) -> Rhythm:
        """Return in which hours of the week, by the clock of a zone, data is read, as requests for fresh data show."""
        return self.reads.rhythm(zone) if self.reads.weight else STEADY

    def learned(self, samples: Iterable[FeedSample]) -> "Fleet":
        """Return what samples show by themselves, given what is known already; `merged` adds it."""
        by_kind: dict[str, list[FeedSample]] = defaultdict(list)
        for sample in samples:
            by_kind[sample.kind].append(sample)
        return Fleet({name: self._learned(name, of_kind) for name, of_kind in by_kind.items()})

    def _learned(self, name: str, samples: list[FeedSample]) -> Kind:
        rate = KindRate(1, math.log(samples[0].rate))
        for sample in samples[1:]:
            rate = rate.merged(KindRate(1, math.log(sample.rate)))
        known, hours = self.kinds[name].hours if name in self.kinds else NO_COUNTS, NO_COUNTS
        by_zone: dict[tzinfo, list[tuple[SyncInterval, float]]] = defaultdict(list)
        for sample in samples:
            by_zone[sample.zone] += ((interval, sample.rate) for interval in sample.intervals)
        shown = (
            sum(evidence(intervals, known.rhythm(zone)) for zone, intervals in by_zone.items()) if known.weight else 0.0
        )
        for _ in range(PASSES):
            before = known.merged(hours)
            of_zones = [counted(intervals, before.rhythm(zone)) for zone, intervals in by_zone.items()]
            hours = reduce(HourCounts.merged, of_zones, NO_COUNTS)
        return Kind(rate, hours, shown)

    def merged(self, other: "Fleet") -> "Fleet":
        """Return what was learned from both."""
        kinds = dict(self.kinds)
        for name, kind in other.kinds.items():
            kinds[name] = kinds[name].merged(kind) if name in kinds else kind
        return Fleet(kinds, self.reads.merged(other.reads))
