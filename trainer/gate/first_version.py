"""The gate for a first version, which has no champion: it must beat trivial predictors.

On the test and calibration splits it must be significantly better than chance, however few pictures there are.
`gate.first_confidence` is high, because repeated trainings of a useless model would otherwise pass by luck one day.
The trivial predictors are a forest on the file properties that are left after the augmentation, and a linear model on
32-pixel thumbnails. With `gate.first_groups` groups of either label in the test split the version must beat them; with
fewer it must not be significantly worse.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.audit.audit import Audit
from trainer.audit.objection import Objection
from trainer.audit.statements import LEARNT_NAMES
from trainer.evaluation.evaluate import Evaluation
from trainer.stats.intervals import Resampler, auc_interval, hull, percentile_interval
from trainer.stats.metrics import weighted_auc
from trainer.stats.predictions import Scored
from utils.config.training import Gate as Settings

REPLICATES = 1000
SURE_REPLICATES = 5000  # so that a tail of one in a thousand has a few
CHANCE = 0.5
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
        return [Objection("unknown", f"nothing can be said about its quality: {auc.why}")], []
    fewest = min(len(np.unique(test.groups[test.targets == label])) for label in (0, 1))
    is_large = fewest >= settings.first_groups
    measured["first"] = {"fewest_groups": fewest, "needed": settings.first_groups, "probes_judged": is_large}
    objections: list[str] = []
    remarks = []
    size = f"{len(test)} test pictures, {fewest} groups of the smaller label"
    words = f"test AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) on {size}"
    measured["first"]["surely_above"] = surely_above = _surely_above(
        evaluation.untrained or test, settings.first_confidence
    )
    if surely_above <= CHANCE:
        sentence = f"not significantly better than chance: {words}{_tempting(audit)}"
        objections.append(Objection("chance", sentence))
    else:
        remarks.append(f"first version: {words}")
    measured["probes"] = against_probes(test, audit, settings)
    for name, entry in measured["probes"].items():
        words = _in_words(name, entry)
        if entry["high"] < 0:
            objections.append(Objection("worse_than_probe", f"worse than a trivial probe: {words}"))
        elif entry["low"] > 0:
            remarks.append(f"beats a trivial probe: {words}")
        elif is_large and entry["difference"] <= 0 and entry["probe"] < CEILING:
            objections.append(Objection("worse_than_probe", f"does not beat a trivial probe: {words}"))
        else:
            remarks.append(f"not told apart from a trivial probe: {words}")
    return objections, remarks


def _surely_above(test: Scored, confidence: float) -> float:
    """The AUC that the true one exceeds with this one-sided confidence: by bootstrap, and by Newcombe on groups."""
    targets, groups = test.targets, test.groups
    both = 2 * confidence - 1
    value = float(weighted_auc(np.ones((1, len(targets))), targets, test.probabilities)[0])
    draws = [
        weighted_auc(weights, targets, test.probabilities)
        for weights in Resampler(targets, groups, SURE_REPLICATES).weights()
    ]
    counts = [len(np.unique(groups[targets == label])) for label in (1, 0)]
    ends = hull(percentile_interval(np.concatenate(draws), both), auc_interval(value, counts[0], counts[1], both))
    return ends[0] if ends else 0.0


def _tempting(audit: Audit) -> str:
    """What the label could be told from that is no signal, where there is such a thing."""
    names = [LEARNT_NAMES.get(entry["property"], entry["property"]) for entry in audit.card.get("shortcuts", [])]
    return f"; what tells the labels of these pictures apart is {' and '.join(names)}, which is no signal" * bool(names)


def probe_objections(test: Scored, audit: Audit, settings: Settings, measured: dict[str, Any]) -> list[str]:
    """For a version that has a champion: it may not be significantly worse than a trivial probe either."""
    measured["probes"] = against_probes(test, audit, settings)
    return [
        Objection("worse_than_probe", f"worse than a trivial probe: {_in_words(name, entry)}")
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
