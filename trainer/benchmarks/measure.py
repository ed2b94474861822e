"""Evaluates a version on a folder of pictures, by sub-folder, at the published thresholds, with its mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data.types import GroupedSample, Scorer
from trainer.evaluation.operating_points import MIDDLE, OperatingPoints, verdicts
from trainer.split.sources import origin
from trainer.stats.intervals import Measured, wilson
from trainer.stats.metrics import measure
from trainer.stats.novelty import Novelty
from trainer.stats.predictions import Scored, score

REPLICATES = 500
MISTAKES = 20
REPORTED = ("auc", "balanced_accuracy", "recall", "specificity", "ece")


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """`scored` for who compares versions; `card` for people and files."""

    scored: Scored
    card: dict[str, Any]


def measure_pictures(
    scorer: Scorer,
    members: Sequence[GroupedSample],
    temperature: float,
    points: OperatingPoints,
    novelty: Novelty | None,
) -> BenchmarkResult:
    """Every number with its interval; `mistakes` are wrong verdicts, the surest first."""
    scored = score(scorer, members, temperature)
    given = verdicts(scored.probabilities, points)
    if novelty is not None and novelty.cut is not None:
        given = np.where(novelty(scorer.embeddings(members)) <= novelty.cut, given, -1)
    measured = measure(scored, MIDDLE, REPLICATES)
    targets, names = scored.targets, np.array([origin(member) for member in scored.samples])
    groups = scored.groups
    rows = []
    for target, label in ((0, "real"), (1, "ai_generated")):
        for name in sorted(set(names[targets == target].tolist())):
            own = (targets == target) & (names == name)
            rows.append(
                {
                    "name": name,
                    "label": label,
                    "n": int(own.sum()),
                    **{
                        word: _share(given[own] == verdict, groups[own])
                        for word, verdict in (("called_ai_generated", 1), ("called_real", 0), ("uncertain", -1))
                    },
                    "mean_probability": round(float(scored.probabilities[own].mean()), 6),
                }
            )
    wrong = np.flatnonzero((given >= 0) & (given != targets))
    surest = wrong[np.argsort(-np.abs(scored.probabilities[wrong] - MIDDLE), kind="stable")][:MISTAKES]
    card = {
        "n": len(scored),
        "real": int((targets == 0).sum()),
        "ai_generated": int((targets == 1).sum()),
        **{name: measured[name].to_card() for name in REPORTED},
        "false_alarms": _share(given[targets == 0] == 1, groups[targets == 0]),
        "found": _share(given[targets == 1] == 1, groups[targets == 1]),
        "verdict_share": _share(given >= 0, groups),
        "folders": rows,
        "mistakes": [
            {
                "path": scored.samples[row].sample.path,
                "label": scored.samples[row].sample.label,
                "probability": round(float(scored.probabilities[row]), 6),
            }
            for row in surest.tolist()
        ],
    }
    return BenchmarkResult(scored, card)


def _share(events: np.ndarray[Any, Any], groups: np.ndarray[Any, Any]) -> dict[str, Any] | None:
    if not len(events):
        return None
    share, count = float(events.mean()), len(np.unique(groups))
    low, high = wilson(share, count)
    return Measured(share, low, high, len(events), count).to_card()
