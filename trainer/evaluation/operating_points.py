"""Thresholds of the verdicts, taken from the worst source: a threshold that fits the average fails somewhere.

p >= threshold_ai is called ai_generated, p <= threshold_real is called real, and what lies between is uncertain.
`threshold_ai` holds the budget of false alarms on every real source at once, `threshold_real` that of misses on every
generator; ties count against us. Neither crosses the middle, so that a verdict never contradicts its probability.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.data.sources import origin
from trainer.data.types import Floats
from trainer.stats.metrics import FALSE_POSITIVE_RATES
from trainer.stats.predictions import Bools, Scored
from utils.config.training import Evaluation as Settings

MIDDLE = 0.5  # of the plain two-way decision that accuracy, precision and recall are given at
RULE = (
    "p >= threshold_ai: ai_generated; p <= threshold_real: real; else uncertain. threshold_ai is the largest, over the "
    "real sources, of the thresholds that keep false alarms within the budget; threshold_real the smallest, over the "
    "generators, of those that keep misses within it; both leave at least the abstain band around 0.5 undecided"
)


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
    threshold_ai: float
    threshold_real: float
    points: tuple[OperatingPoint, ...]
    note: str

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


def operating_points(scored: Scored, settings: Settings) -> OperatingPoints:
    """From the calibrated probabilities of the calibration part."""
    real = _by_slice(scored, 0, settings.source_images)
    generated = _by_slice(scored, 1, settings.source_images)
    points = tuple(_point(real, rate) for rate in FALSE_POSITIVE_RATES if real)
    half_band = settings.abstain_band / 2
    threshold_ai, threshold_real = MIDDLE + half_band, MIDDLE - half_band
    notes = []
    if real:
        budget = _point(real, settings.false_positive_budget)
        threshold_ai = min(max(threshold_ai, budget.threshold), 1.0)
        notes.append(f"false alarms set by {budget.worst_source} ({budget.n} pictures)")
        if not budget.observable:
            notes.append(
                f"too few to observe a rate of {settings.false_positive_budget:.0%}: above the highest one seen"
            )
    if generated:
        allowed = {name: -_threshold(-values, settings.miss_budget) for name, values in generated.items()}
        worst = min(allowed, key=lambda name: allowed[name])
        threshold_real = max(min(threshold_real, allowed[worst]), 0.0)
        notes.append(f"misses set by {worst} ({len(generated[worst])} pictures)")
    if not real or not generated:
        notes.append("one label is missing: its threshold is the edge of the abstain band")
    return OperatingPoints(threshold_ai, threshold_real, points, "; ".join(notes))


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
