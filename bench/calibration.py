"""Figures of how good the planner's predictions are that copies are up to date."""

from bench.figures import Figure
from freshness.domain.calibration import BINS, Calibration, Scores


def calibration_figures(world: str, scores: Scores) -> list[Figure]:
    """Return the expected calibration error, the Brier score, and the calibration table of a simulated world."""
    total = Calibration()
    for each in scores.by_platform.values():
        total = total.merged(each)
    what = f"predictions that nothing changed, {world}"
    return [
        Figure(what=f"{what}: expected calibration error", value=total.expected_error, unit="", at_most=0.03),
        Figure(what=f"{what}: Brier score", value=total.brier, unit="", against=f"{total.total.count:,} syncs"),
        *(
            Figure(
                what=f"{what}: share that came true from {number / BINS:.0%} to {(number + 1) / BINS:.0%}",
                value=each.unchanged / each.count,
                unit="",
                against=f"mean probability of {each.count:,}",
                floor=each.probability / each.count,
            )
            for number, each in enumerate(total.bins)
            if each.count
        ),
    ]
