"""The gate for a first version, which has no champion: it must beat what can be had without a model.

The trivial rivals are chance, a forest on the file properties that are left after the augmentation, and a linear model
on 32-pixel thumbnails. With `gate.first_groups` groups of either label in the test part it must beat them; with fewer,
nothing of the kind can be told, so it is published unless it is clearly worse, and its notes say what that is worth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.audit.audit import Audit
from trainer.evaluation.evaluate import Evaluation
from trainer.stats.intervals import Resampler, percentile_interval
from trainer.stats.metrics import weighted_auc
from trainer.stats.predictions import Scored
from utils.config.training import Gate as Settings

REPLICATES = 1000
CEILING = 0.99  # an AUC that cannot be beaten: a tie with such a probe says that the data are too easy
NAMES = {
    "metadata_probe": "file properties after the augmentation",
    "content_probe": "32-pixel thumbnails",
}


def judge_first(
    evaluation: Evaluation, audit: Audit, settings: Settings, measured: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Objections and remarks; what was compared is added to `measured["probes"]`."""
    test, auc = evaluation.scored_test, evaluation.test["auc"]
    if auc.value is None or auc.low is None or auc.high is None:
        return [], [f"first version; nothing can be said about its worth: {auc.why}"]
    fewest = min(len(np.unique(test.groups[test.targets == label])) for label in (0, 1))
    is_large = fewest >= settings.first_groups
    measured["first"] = {"fewest_groups": fewest, "needed": settings.first_groups, "judged": is_large}
    objections, remarks = [], []
    if auc.high < 0.5 or (is_large and auc.low <= 0.5):
        objections.append(f"no better than chance: test AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})")
    measured["probes"] = against_probes(test, audit, settings)
    for name, entry in measured["probes"].items():
        words = _in_words(name, entry)
        if entry["high"] < 0:
            objections.append(f"worse than a trivial probe: {words}")
        elif entry["low"] > 0:
            remarks.append(f"beats a trivial probe: {words}")
        elif is_large and entry["difference"] <= 0 and entry["probe"] < CEILING:
            objections.append(f"does not beat a trivial probe: {words}")
        else:
            remarks.append(f"not told apart from a trivial probe: {words}")
    size = f"{len(test)} test pictures, {fewest} groups of the smaller label"
    if is_large:
        remarks.insert(0, f"first version: test AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) on {size}")
    else:
        remarks.insert(
            0,
            f"first version, published on {size}: too few to judge ({settings.first_groups} groups are needed); "
            f"test AUC {auc.value:.3f}, but anything from {auc.low:.3f} to {auc.high:.3f} is possible",
        )
    return objections, remarks


def probe_objections(test: Scored, audit: Audit, settings: Settings, measured: dict[str, Any]) -> list[str]:
    """For a version that has a champion: it may not be surely worse than a trivial probe either."""
    measured["probes"] = against_probes(test, audit, settings)
    return [
        f"worse than a trivial probe: {_in_words(name, entry)}"
        for name, entry in measured["probes"].items()
        if entry["high"] < 0
    ]


def against_probes(test: Scored, audit: Audit, settings: Settings) -> dict[str, Any]:
    compared = {name: _against_probe(test, guesses, settings) for name, guesses in audit.probes.items()}
    return {name: entry for name, entry in compared.items() if entry is not None}


def _in_words(name: str, entry: dict[str, Any]) -> str:
    return f"AUC {entry['candidate']:.3f} against {entry['probe']:.3f} of a probe that sees {NAMES[name]} only"


def _against_probe(test: Scored, guesses: dict[str, float], settings: Settings) -> dict[str, Any] | None:
    """Candidate and probe (cross-validated) on the same test pictures; None where too few are common."""
    common = test.where(lambda member: member.sample.sha256 in guesses)
    targets = common.targets
    if len(set(targets.tolist())) < 2:
        return None
    rival = np.array([guesses[member.sample.sha256] for member in common.samples])
    once = np.ones((1, len(common)))
    own, other = (float(weighted_auc(once, targets, scores)[0]) for scores in (common.probabilities, rival))
    draws = [
        weighted_auc(weights, targets, common.probabilities) - weighted_auc(weights, targets, rival)
        for weights in Resampler(targets, common.groups, REPLICATES).weights()
    ]
    low, high = percentile_interval(np.concatenate(draws), 2 * settings.confidence - 1) or (-1.0, 1.0)
    return {"n": len(common), "candidate": own, "probe": other, "difference": own - other, "low": low, "high": high}
