"""What a candidate is worth: validation and test split, every generator and real source, robustness, what it never saw.

The plain metrics are of the two-way decision at 0.5 after temperature; verdicts are those at the shipped thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from trainer.data.types import PartsOfSplit, Report, Scorer
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.leave_sources_out import NOTHING_LEFT_OUT, LeftOutSources
from trainer.evaluation.operating_points import MIDDLE, OperatingPoints, verdicts
from trainer.evaluation.robustness import CONDITIONS, STEPS_BEFORE, sweep
from trainer.evaluation.unseen import Unseen, by_name, unseen_card, unseen_figures
from trainer.split.sources import origin
from trainer.stats.intervals import Measured, wilson
from trainer.stats.metrics import BINS, measure, to_card
from trainer.stats.novelty import Novelty
from trainer.stats.predictions import Bools, CachedScorer, Scored, score
from utils.config.training import Evaluation as Settings

SLICE_REPLICATES = 300
NOVELTY_TOP = 2.0  # of the histogram of novelty, in cuts; the last bin has all above
SCORE_BINS = 20  # of the histogram of probabilities, as exposr_client counts what it sees
CURVE_POINTS = 200  # kept of a ROC curve, for the plot


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Numbers for the card, and the scored test split for the gate. `core` is what Exposr-Core's model said of it,
    `reported` what became of the mistakes that Exposr-Core reported.

    `untrained` adds the calibration split, on which nothing was fitted that could change a ranking.
    """

    validation: dict[str, Measured]
    test: dict[str, Measured]
    scored_test: Scored
    card: dict[str, Any]
    core: dict[str, Any] | None = None
    reported: dict[str, Any] | None = None
    unseen: dict[str, Unseen] = field(default_factory=dict)
    untrained: Scored | None = None
    novelty: Novelty | None = None

    def with_benchmarks(self, found: dict[str, Any]) -> Evaluation:
        return replace(self, card=self.card | {"benchmarks": found})

    def with_core(self, core: dict[str, Any] | None) -> Evaluation:
        return replace(self, core=core)

    def with_reported(self, reported: dict[str, Any] | None) -> Evaluation:
        return replace(self, reported=reported)

    def to_card(self) -> dict[str, Any]:
        return self.card | {"core": self.core, "reported": self.reported}


def evaluate(
    scorer: Scorer,
    parts: PartsOfSplit,
    calibration: Calibration,
    settings: Settings,
    report: Report,
    left_out: LeftOutSources = NOTHING_LEFT_OUT,
    novelty: Novelty | None = None,
) -> Evaluation:
    """Measure everything that the settings ask for; costs a few passes over the test split."""
    scorer = scorer if isinstance(scorer, CachedScorer) else CachedScorer(scorer)
    steps = STEPS_BEFORE + len(CONDITIONS)
    report(0, steps, "validation and test split")
    validation = score(scorer, parts["validation"], calibration.temperature)
    test = score(scorer, parts["test"], calibration.temperature)
    calibrated = score(scorer, parts["calibration"], calibration.temperature)
    measured = [measure(part, MIDDLE, settings.bootstrap_samples) for part in (validation, test)]
    card: dict[str, Any] = {
        "decision_threshold": MIDDLE,
        "decision": "metrics are those of p >= 0.5 after temperature; verdicts those of the shipped thresholds",
        "intervals": f"95 %, cluster bootstrap by group ({settings.bootstrap_samples} draws), widened for few groups",
        "validation": _part_card(validation, measured[0], calibration.points, _familiar(scorer, validation, novelty)),
        "test": _part_card(test, measured[1], calibration.points, _familiar(scorer, test, novelty)),
        "per_generator": _slices(test, 1),
        "per_real_source": _slices(test, 0),
        "curves": _curves(test),
    }
    card["validation"] |= _novelty_card(scorer, validation, novelty)
    cut = novelty.cut if novelty else None
    figures = unseen_figures(left_out, calibration.points, cut)
    card["unseen"] = unseen_card(left_out, calibration.points, figures, cut)
    card["leave_one_generator_out"] = by_name(left_out.generated)
    card["leave_one_real_source_out"] = by_name(left_out.real)
    report(1, steps, "robustness")
    if settings.robustness and len(test):
        card["robustness"] = sweep(scorer, parts["test"], calibration.temperature, calibration.points, settings, report)
    report(steps, steps, "evaluated")
    return Evaluation(
        measured[0], measured[1], test, card, unseen=figures, untrained=_together(test, calibrated), novelty=novelty
    )


def _together(first: Scored, second: Scored) -> Scored:
    return Scored((*first.samples, *second.samples), np.concatenate([first.probabilities, second.probabilities]))


def _familiar(scorer: Scorer, scored: Scored, novelty: Novelty | None) -> Bools:
    """Which of the scored pictures get a verdict at all."""
    if novelty is None or novelty.cut is None or not len(scored):
        return np.ones(len(scored), dtype=bool)
    return np.asarray(novelty(scorer.embeddings(scored.samples)) <= novelty.cut)


def _novelty_card(scorer: Scorer, scored: Scored, novelty: Novelty | None) -> dict[str, Any]:
    """How many pictures are beyond the cut, and a histogram of their novelty in cuts: what serving is compared with."""
    if novelty is None or novelty.cut is None or novelty.cut <= 0 or not len(scored):
        return {}
    relative = novelty(scorer.embeddings(scored.samples)) / novelty.cut
    share, count = float((relative > 1).mean()), len(np.unique(scored.groups))
    low, high = wilson(share, count)
    counts = np.histogram(np.clip(relative, 0, NOVELTY_TOP), bins=SCORE_BINS, range=(0, NOVELTY_TOP))[0]
    return {"unfamiliar": Measured(share, low, high, len(scored), count).to_card(), "novelty": counts.tolist()}


def _part_card(
    scored: Scored, measured: dict[str, Measured], points: OperatingPoints, familiar: Bools
) -> dict[str, Any]:
    targets = scored.targets
    return {
        "n": len(scored),
        "real": int((targets == 0).sum()),
        "ai_generated": int((targets == 1).sum()),
        **to_card(measured),
        "verdicts": _verdict_rates(scored, points, familiar),
        "scores": np.histogram(scored.probabilities, bins=SCORE_BINS, range=(0, 1))[0].tolist(),
    }


def _verdict_rates(scored: Scored, points: OperatingPoints, familiar: Bools) -> dict[str, Any]:
    """At the shipped thresholds: how often each label is called what, and how often the answer is uncertain."""
    given, targets, groups = (
        np.where(familiar, verdicts(scored.probabilities, points), -1),
        scored.targets,
        scored.groups,
    )
    rates: dict[str, Any] = {}
    for name, label, verdict in (
        ("false_alarms", 0, 1),
        ("real_recognised", 0, 0),
        ("misses", 1, 0),
        ("ai_recognised", 1, 1),
        ("real_uncertain", 0, -1),
        ("ai_uncertain", 1, -1),
    ):
        members = targets == label
        if not members.any():
            rates[name] = None
            continue
        share, count = float((given[members] == verdict).mean()), len(np.unique(groups[members]))
        low, high = wilson(share, count)
        rates[name] = Measured(share, low, high, int(members.sum()), count).to_card()
    return rates


def _slices(test: Scored, target: int) -> dict[str, Any]:
    """Each generator against all real pictures, or each real source against all generated ones."""
    names = sorted({origin(member) for member in test.samples if member.sample.target == target})
    slices: dict[str, Any] = {}
    for name in names:
        own = test.where(lambda member, name=name: member.sample.target == target and origin(member) == name)  # type: ignore[misc]
        against = test.where(
            lambda member, name=name: member.sample.target != target or origin(member) == name  # type: ignore[misc]
        )
        alone = measure(own, MIDDLE, SLICE_REPLICATES)
        correct = "recall" if target == 1 else "specificity"
        slices[name] = {
            "n": len(own),
            correct: alone[correct].to_card(),
            "auc": measure(against, MIDDLE, SLICE_REPLICATES)["auc"].to_card(),
        }
    return slices


def _curves(test: Scored) -> dict[str, Any]:
    """Points of the ROC curve and of the reliability diagram."""
    targets, probabilities = test.targets, test.probabilities
    curves: dict[str, Any] = {"roc": None, "reliability": []}
    if len(set(targets.tolist())) == 2:
        false_rates, true_rates, _ = roc_curve(targets, probabilities)
        kept = np.unique(np.linspace(0, len(false_rates) - 1, CURVE_POINTS).round().astype(int))
        curves["roc"] = {"fpr": false_rates[kept].round(5).tolist(), "tpr": true_rates[kept].round(5).tolist()}
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    for number in np.unique(bins):
        members = bins == number
        curves["reliability"].append(
            {
                "mean_probability": round(float(probabilities[members].mean()), 5),
                "share_ai": round(float(targets[members].mean()), 5),
                "n": int(members.sum()),
            }
        )
    return curves
