"""The gate treats each benchmark as a large slice: its accuracy must not significantly fall by more than the margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.evaluation.operating_points import MIDDLE
from trainer.stats.intervals import Resampler, percentile_interval
from trainer.stats.predictions import Scored
from utils.config.training import Gate as Settings

REPLICATES = 1000


def benchmark_objections(
    compared: Mapping[str, tuple[Scored, Scored]], settings: Settings, measured: dict[str, Any]
) -> list[str]:
    """`compared` holds candidate and champion on the same pictures, by name of the benchmark."""
    found: dict[str, Any] = {}
    for name, (candidate, champion) in compared.items():
        targets = candidate.targets
        right = [((scored.probabilities >= MIDDLE) == targets).astype(np.float64) for scored in (candidate, champion)]
        gains = right[0] - right[1]
        blocks = Resampler(targets, candidate.groups, REPLICATES).weights()
        draws = np.concatenate([weights @ gains / weights.sum(axis=1) for weights in blocks])
        low, high = percentile_interval(draws, 2 * settings.confidence - 1) or (-1.0, 1.0)
        found[name] = {
            "n": len(candidate),
            "candidate": float(right[0].mean()),
            "champion": float(right[1].mean()),
            "difference": float(gains.mean()),
            "low": low,
            "high": high,
        }
    if found:
        measured["benchmarks"] = found
    return [
        f"benchmark {name} ({entry['n']} pictures): accuracy falls by {-entry['difference']:.3f}, at most "
        f"{settings.slice_margin:.3f} is allowed"
        for name, entry in found.items()
        if entry["difference"] < -settings.slice_margin and entry["high"] < 0
    ]
