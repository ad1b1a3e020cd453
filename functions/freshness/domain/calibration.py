"""How good the predictions are that data has not changed: each sync shows whether one came true.

Scores are sums, so that those of different syncs, processes and days can be added.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import NamedTuple

from freshness.domain.value import value

BINS = 10
"""Ranges of the predicted probability, each of a tenth."""
ENOUGH = 100
"""Predictions of a kind below which nothing is concluded from them."""
POOR = 0.1
"""The difference between the mean probability and the share that came true from which a kind is poorly calibrated."""


class Prediction(NamedTuple):
    """The probability with which data of a kind was said to be unchanged before a sync, and whether it was."""

    kind: str
    probability: float
    unchanged: bool


@value(kw_only=False)
class Score:
    """Sums over predictions."""

    count: int = 0
    probability: float = 0.0
    """The sum of the predicted probabilities: how many were expected to be unchanged."""
    unchanged: int = 0
    squared_error: float = 0.0

    def merged(self, other: "Score") -> "Score":
        """Return the sums over both."""
        return Score(
            self.count + other.count,
            self.probability + other.probability,
            self.unchanged + other.unchanged,
            self.squared_error + other.squared_error,
        )

    @property
    def bias(self) -> float:
        """Return the mean probability minus the share that was unchanged; 0 without predictions."""
        return (self.probability - self.unchanged) / self.count if self.count else 0.0

    @property
    def is_poor(self) -> bool:
        """Return whether enough predictions show that their probabilities are wrong."""
        return self.count >= ENOUGH and abs(self.bias) > POOR


NO_SCORE = Score()


@value(kw_only=False)
class Calibration:
    """The scores of predictions by their probability: from 0 to 0.1 in the first of the `BINS`, and so on."""

    bins: tuple[Score, ...] = (NO_SCORE,) * BINS

    def merged(self, other: "Calibration") -> "Calibration":
        """Return the scores of both."""
        return Calibration(tuple(one.merged(two) for one, two in zip(self.bins, other.bins, strict=True)))

    @property
    def total(self) -> Score:
        """Return the score of all predictions."""
        total = NO_SCORE
        for each in self.bins:
            total = total.merged(each)
        return total

    @property
    def brier(self) -> float:
        """Return the Brier score: the mean squared error of the probability, 0 being the best."""
        total = self.total
        return total.squared_error / total.count if total.count else 0.0

    @property
    def expected_error(self) -> float:
        """Return the expected calibration error: the mean bias of the bins, weighted by their size."""
        total = self.total.count
        return sum(abs(each.bias) * each.count for each in self.bins) / total if total else 0.0


@value(kw_only=False)
class Scores:
    """Scores by platform, and by kind (`freshness.domain.fleet.kind_of`)."""

    by_platform: Mapping[str, Calibration] = field(default_factory=dict)
    by_kind: Mapping[str, Score] = field(default_factory=dict)
    version: int = 0

    def merged(self, other: "Scores") -> "Scores":
        """Return the scores of both."""
        platforms, kinds = dict(self.by_platform), dict(self.by_kind)
        for platform, calibration in other.by_platform.items():
            platforms[platform] = platforms.get(platform, Calibration()).merged(calibration)
        for kind, score in other.by_kind.items():
            kinds[kind] = kinds.get(kind, NO_SCORE).merged(score)
        return Scores(platforms, kinds, self.version)


NO_SCORES = Scores()


def scored(predictions: Iterable[Prediction]) -> Scores:
    """Return the scores of predictions."""
    by_kind: dict[str, Score] = {}
    bins: dict[str, list[Score]] = {}
    for kind, probability, unchanged in predictions:
        score = Score(1, probability, int(unchanged), (probability - unchanged) ** 2)
        by_kind[kind] = by_kind.get(kind, NO_SCORE).merged(score)
        of_platform = bins.setdefault(kind.rpartition("/")[0], [NO_SCORE] * BINS)
        number = min(int(probability * BINS), BINS - 1)
        of_platform[number] = of_platform[number].merged(score)
    return Scores({platform: Calibration(tuple(each)) for platform, each in bins.items()}, by_kind)
