"""How long syncs usually take: what is learned from all companies for each platform and data type."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from statistics import median

WORTH_NOTING = 0.1
"""A change by less than this share is not worth a write."""
INERTIA = 8
"""How many samples what is known already counts for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDurations:
    """Typical times in milliseconds, by "{platform}/{data type}"."""

    milliseconds: dict[str, int] = field(default_factory=dict)
    version: int = 0

    def typical(self, platform: str, data_type: str) -> timedelta | None:
        """How long a sync usually takes; `None` if none was seen."""
        milliseconds = self.milliseconds.get(f"{platform}/{data_type}")
        return None if milliseconds is None else timedelta(milliseconds=milliseconds)

    def learned(self, samples: Mapping[tuple[str, str], Iterable[timedelta]]) -> "SyncDurations":
        """These times moved towards what was seen, by platform and data type."""
        milliseconds = dict(self.milliseconds)
        for (platform, data_type), times in samples.items():
            seen = [time / timedelta(milliseconds=1) for time in times]
            known = self.typical(platform, data_type)
            before = known / timedelta(milliseconds=1) if known else median(seen)
            after = before + (median(seen) - before) * len(seen) / (len(seen) + INERTIA)
            if known is None or abs(after - before) > WORTH_NOTING * before:
                milliseconds[f"{platform}/{data_type}"] = round(after)
        return replace(self, milliseconds=milliseconds)
