"""Thresholds of the verdicts, taken from the worst source: a threshold that fits the average fails somewhere.

p >= threshold_ai is called ai_generated, p <= threshold_real is called real, and what lies between is uncertain.
`threshold_ai` holds the budget of false alarms on every real source at once, `threshold_real` that of misses on every
generator, also as seen by a model that never met them, as it will be with the next one. Ties count against us. Where
scores do not allow it, the uncertain band widens. Neither crosses the middle: no verdict contradicts its probability.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trainer.data.types import Floats
from trainer.evaluation.leave_sources_out import NOTHING_LEFT_OUT, LeftOutSources
from trainer.split.sources import origin
from trainer.stats.metrics import FALSE_POSITIVE_RATES
from trainer.stats.predictions import Bools, Scored
from utils.config.training import Evaluation as Settings

MIDDLE = 0.5  # of the plain two-way decision that accuracy, precision and recall are given at
RULE = (
    "p >= threshold_ai: ai_generated; p <= threshold_real: real; else uncertain. threshold_ai is the largest of the "
    "thresholds that keep false alarms within the budget, over the real sources as the model sees them and over each "
    "as a model sees it that never met it; threshold_real the smallest of those that keep misses within theirs, over "
    "the generators in the same two ways; both leave at least the abstain band around 0.5 undecided"
)
LEFT_OUT = " (left out of training)"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The threshold for one budget of false alarms. `n` real pictures of `worst_source` set it; with fewer than
    1 / budget of them the budget itself could not be observed."""

    false_positive_rate: float
    threshold: float
    worst_source: str
    n: int
    observable: bool


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """`allowed` is the threshold that each real source on its own would need for the budget of false alarms."""

    threshold_ai: float
    threshold_real: float
    points: tuple[OperatingPoint, ...]
    note: str
    allowed: dict[str, float] = field(default_factory=dict)
    least: float = MIDDLE

    def to_card(self) -> dict[str, Any]:
        return {
            "threshold_ai": self.threshold_ai,
            "threshold_real": self.threshold_real,
            "decision_threshold": MIDDLE,
            "points": [asdict(point) for point in self.points],
            "rule": RULE,
            "note": self.note,
        }

    def undecided(self, probabilities: Floats) -> Bools:
        return (probabilities < self.threshold_ai) & (probabilities > self.threshold_real)

    def threshold_without(self, source: str) -> float:
        """`threshold_ai` as it would be had the real source not been there to set it."""
        others = [value for name, value in self.allowed.items() if name not in (source, source + LEFT_OUT)]
        return min(max([self.least, *others]), 1.0)


def verdicts(probabilities: Floats, points: OperatingPoints) -> np.ndarray[Any, np.dtype[np.int64]]:
    """1 ai_generated, 0 real, -1 uncertain."""
    return np.where(points.undecided(probabilities), -1, (probabilities >= points.threshold_ai).astype(np.int64))


def operating_points(
    scored: Scored, settings: Settings, left_out: LeftOutSources = NOTHING_LEFT_OUT
) -> OperatingPoints:
    """From the calibrated probabilities of the calibration split, and from those of what was left out."""
    real = _by_slice(scored, 0, settings.source_images)
    generated = _by_slice(scored, 1, settings.source_images)
    real |= {fold.name + LEFT_OUT: fold.own.probabilities for fold in left_out.real}
    generated |= {fold.name + LEFT_OUT: fold.own.probabilities for fold in left_out.generated}
    points = tuple(_point(real, rate) for rate in FALSE_POSITIVE_RATES if real)
    half_band = settings.abstain_band / 2
    threshold_ai, threshold_real = MIDDLE + half_band, MIDDLE - half_band
    notes = []
    if real:
        budget = _point(real, settings.false_positive_budget)
        if budget.threshold <= threshold_ai:
            notes.append("threshold_ai is the edge of the abstain band: every source needs less")
        else:
            threshold_ai = min(budget.threshold, 1.0)
            notes.append(f"threshold_ai set by {budget.worst_source} ({budget.n} pictures)")
        if not budget.observable:
            notes.append(
                f"{budget.worst_source}: {budget.n} pictures are too few to observe a rate of "
                f"{settings.false_positive_budget:.0%}"
            )
    if generated:
        misses = {name: -_threshold(-values, settings.miss_budget) for name, values in generated.items()}
        worst = min(misses, key=lambda name: misses[name])
        if misses[worst] >= threshold_real:
            notes.append("threshold_real is the edge of the abstain band: every generator allows more")
        else:
            threshold_real = max(misses[worst], 0.0)
            notes.append(f"threshold_real set by {worst} ({len(generated[worst])} pictures)")
    if not real or not generated:
        notes.append("one label is missing: its threshold is the edge of the abstain band")
    if not left_out.real:
        notes.append("no real source could be left out: what it does on the next one is not known")
    allowed = {name: _threshold(values, settings.false_positive_budget) for name, values in real.items()}
    return OperatingPoints(
        threshold_ai, threshold_real, points, "; ".join(notes), allowed, MIDDLE + settings.abstain_band / 2
    )


def _point(real: dict[str, Floats], rate: float) -> OperatingPoint:
    thresholds = {name: _threshold(values, rate) for name, values in real.items()}
    worst = max(thresholds, key=lambda name: thresholds[name])
    n = len(real[worst])
    return OperatingPoint(rate, min(thresholds[worst], 1.0), worst, n, n * rate >= 1)


def _threshold(values: Floats, rate: float) -> float:
    """The lowest threshold that at most floor(rate x n) of `values` reach."""
    descending = np.sort(values)[::-1]
    return math.nextafter(float(descending[math.floor(rate * len(values))]), math.inf)


def _by_slice(scored: Scored, target: int, least: int) -> dict[str, Floats]:
    """Probabilities by source or generator; those with too few pictures are taken together."""
    found: dict[str, list[float]] = defaultdict(list)
    for member, probability in zip(scored.samples, scored.probabilities.tolist(), strict=True):
        if member.sample.target == target:
            found[origin(member)].append(probability)
    large = {name: np.array(values) for name, values in found.items() if len(values) >= least}
    small = [value for name, values in found.items() if name not in large for value in values]
    if small and (len(small) >= least or not large):
        large["all others together" if large else "all together"] = np.array(small)
    return large
