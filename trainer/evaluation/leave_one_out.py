"""How the features do on a generator, or a real source, that the head never saw: the field's hardest honest question.

For each one left out, a logistic head is fitted again on the model's embeddings of the train, validation and
calibration parts without it (and without any group it appears in), and measured on all of its pictures against the
other label's pictures of the test part. The backbone is not trained again: an upper bound for fine-tuned models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.data.sources import origin
from trainer.data.types import Floats, GroupedSample, Scorer
from trainer.evaluation.operating_points import MIDDLE
from trainer.stats.intervals import missing
from trainer.stats.metrics import measure
from trainer.stats.predictions import Scored, choose
from trainer.stats.probes import feature_head
from trainer.stats.projection import Projection
from utils.config.training import Evaluation as Settings

LEAST_IMAGES = 5  # of what is left out, and of either label to fit on
REPLICATES = 300
REPORTED = ("auc", "balanced_accuracy", "recall", "specificity")


def leave_one_out(scorer: Scorer, samples: Sequence[GroupedSample], settings: Settings) -> dict[str, Any]:
    """The card's `leave_one_generator_out` and `leave_one_real_source_out`: by name, and the mean and worst AUC."""
    chosen = choose(samples, settings.max_images)
    both = {
        "leave_one_generator_out": _names(chosen, 1, settings.leave_one_out_slices),
        "leave_one_real_source_out": _names(chosen, 0, settings.leave_one_out_slices),
    }
    if all(len(names) < 2 for names in both.values()):
        return {key: _summary({}, names) for key, names in both.items()}
    embeddings = scorer.embeddings(chosen)
    features = Projection.of(embeddings[[member.part != "test" for member in chosen]])(embeddings)
    return {
        key: _summary(
            {name: _left_out(features, chosen, name, target) for name in names} if len(names) > 1 else {}, names
        )
        for (key, names), target in zip(both.items(), (1, 0), strict=True)
    }


def _names(samples: Sequence[GroupedSample], target: int, limit: int) -> list[str]:
    counts = Counter(origin(member) for member in samples if member.sample.target == target)
    large = [(name, count) for name, count in counts.items() if count >= LEAST_IMAGES]
    return [name for name, _ in sorted(large, key=lambda item: (-item[1], item[0]))[:limit]]


def _left_out(features: Floats, samples: Sequence[GroupedSample], name: str, target: int) -> dict[str, Any]:
    held_out = np.array([member.sample.target == target and origin(member) == name for member in samples])
    test = np.array([member.part == "test" for member in samples])
    targets = np.array([member.sample.target for member in samples])
    asked = held_out | (test & (targets != target))
    groups = np.array([member.group for member in samples])
    fit = ~test & ~held_out & ~np.isin(groups, groups[asked])
    least = min(int((targets[fit] == label).sum()) for label in (0, 1))
    if least < LEAST_IMAGES or len(set(targets[asked])) < 2:
        why = "too few pictures remain to fit on" if least < LEAST_IMAGES else "the test part lacks the other label"
        return {metric: missing(why, int(asked.sum())).to_card() for metric in REPORTED}
    head = feature_head().fit(features[fit], targets[fit])
    kept = tuple(member for member, is_asked in zip(samples, asked, strict=True) if is_asked)
    measured = measure(Scored(kept, head.predict_proba(features[asked])[:, 1]), MIDDLE, REPLICATES)
    return {metric: measured[metric].to_card() for metric in REPORTED}


def _summary(by_name: dict[str, Any], names: list[str]) -> dict[str, Any]:
    if not by_name:
        return {"by_name": {}, "mean_auc": None, "worst_auc": None, "why": f"needs two of {LEAST_IMAGES} pictures each"}
    aucs = [entry["auc"]["value"] for entry in by_name.values() if entry["auc"]["value"] is not None]
    mean, worst = (float(np.mean(aucs)), float(min(aucs))) if aucs else (None, None)
    return {"by_name": by_name, "mean_auc": mean, "worst_auc": worst}
