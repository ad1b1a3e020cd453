"""Typical durations of syncs, learned for each platform and data type from the syncs of all companies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

MIN_RELATIVE_CHANGE = 0.1
"""The relative change below which a duration is not updated, to save a write."""
PRIOR_SAMPLES = 8
"""The number of samples that a known duration counts as when it is averaged with new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDurations:
    """Typical durations in milliseconds, by "{platform}/{data type}"."""

    milliseconds: dict[str, int] = field(default_factory=dict)
    version: int = 0

    def typical(self, platform: str, data_type: str) -> timedelta | None:
        """Return the typical duration of a sync, or `None` if none was observed."""
        milliseconds = self.milliseconds.get(f"{platform}/{data_type}")
        return None if milliseconds is None else timedelta(milliseconds=milliseconds)

    def learned(self, samples: Mapping[tuple[str, str], Iterable[timedelta]]) -> "SyncDurations":
        """Return the durations updated with samples, which are given by platform and data type."""
        milliseconds = dict(self.milliseconds)
        for (platform, data_type), durations in samples.items():
            observed = sorted(duration / timedelta(milliseconds=1) for duration in durations)
            median = (observed[(len(observed) - 1) // 2] + observed[len(observed) // 2]) / 2
            known = self.typical(platform, data_type)
            before = known / timedelta(milliseconds=1) if known else median
            after = before + (median - before) * len(observed) / (len(observed) + PRIOR_SAMPLES)
            if known is None or abs(after - before) > MIN_RELATIVE_CHANGE * before:
                milliseconds[f"{platform}/{data_type}"] = round(after)
        return replace(self, milliseconds=milliseconds)
