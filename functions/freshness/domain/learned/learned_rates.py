"""How often feeds change, learned for each *kind*: a platform and a data type.

Samples are added up in any order: several processes can learn at the same time.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_FEEDS = 500
"""The maximum number of feeds that the rate of a kind is averaged over. Earlier feeds lose weight beyond it."""


class FeedSample(NamedTuple):
    """The rate of one feed of a kind, in changes a day."""

    kind: str
    rate: float


def kind_of(platform: str, data_type: str) -> str:
    """Return the name of a kind, such as `Xero/invoices`."""
    return f"{platform}/{data_type}"


@dataclass(frozen=True, slots=True)
class PlatformTypeRate:
    """The rate of the feeds of one kind: the mean of its logarithm over `feeds` feeds."""

    feeds: int
    mean_log: float

    def merged(self, other: "PlatformTypeRate") -> "PlatformTypeRate":
        """Return the rate after other feeds were added to the mean."""
        feeds = min(self.feeds + other.feeds, MAX_FEEDS)
        return PlatformTypeRate(feeds, self.mean_log + (other.mean_log - self.mean_log) * min(other.feeds / feeds, 1.0))


@dataclass(frozen=True, slots=True)
class LearnedRates:
    """The rate of each kind, by its name: what is expected of a feed without a sync history."""

    kinds: Mapping[str, PlatformTypeRate] = field(default_factory=dict)

    @classmethod
    def learned(cls, samples: Iterable[FeedSample]) -> "LearnedRates":
        """Return the rates that are learned from these samples alone."""
        kinds: dict[str, PlatformTypeRate] = {}
        for kind, rate in samples:
            shown = PlatformTypeRate(1, math.log(rate))
            kinds[kind] = kinds[kind].merged(shown) if kind in kinds else shown
        return cls(kinds)

    def expected(self, platform: str, data_type: str) -> float | None:
        """Return the rate to expect of a feed, in changes a day, or `None` if no rate of its kind is known."""
        kind = self.kinds.get(kind_of(platform, data_type))
        return math.exp(kind.mean_log) if kind else None

    def merged(self, other: "LearnedRates") -> "LearnedRates":
        kinds = dict(self.kinds)
        for name, kind in other.kinds.items():
            kinds[name] = kinds[name].merged(kind) if name in kinds else kind
        return LearnedRates(kinds)
