"""The gate: a version is published because it is better than, or at least not worse than, what is in service.

Candidate and champion are scored on the same current test split. The cluster bootstrap draws groups once for both, so
that what is compared is their difference on the same pictures. Not worse means: the lower end of that difference, at
the stated one-sided confidence, is above minus the margin. A candidate that is worse by more than that passes in
about 1 - confidence of the cases, and an equal one is called an improvement as rarely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainer.audit.audit import Audit
from trainer.data.types import Floats, Scorer
from trainer.evaluation.evaluate import Evaluation
from trainer.evaluation.operating_points import MIDDLE
from trainer.gate.advice import what_to_collect
from trainer.gate.benchmarks import benchmark_objections
from trainer.gate.first_version import judge_first, probe_objections
from trainer.gate.unseen_sources import unseen_objections
from trainer.split.sources import origin
from trainer.stats.intervals import Resampler, percentile_interval
from trainer.stats.metrics import expected_calibration_error, log_losses, weighted_auc
from trainer.stats.predictions import Ints, Scored, score
from utils.config.training import Gate as Settings

Verdict = Literal["first", "improvement", "not_worse", "rejected", "gate_off"]
REPLICATES = 1000
COMPARED = ("auc", "balanced_accuracy", "nll")


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in service, as the candidate's rival. `unseen_auc` is its own headline, None where not known."""

    name: str
    scorer: Scorer
    temperature: float
    unseen_auc: float | None = None


@dataclass(frozen=True, slots=True)
class GateDecision:
    """`reasons` say in words why it was or was not published; `measured` holds the numbers behind them; `collect` is
    what would help a rejected one, in a line."""

    publish: bool
    verdict: Verdict
    reasons: list[str]
    measured: dict[str, Any]
    collect: str = ""

    def to_card(self) -> dict[str, Any]:
        card = {"publish": self.publish, "verdict": self.verdict, "reasons": self.reasons, "measured": self.measured}
        return card | {"collect": self.collect} if self.collect else card


def decide(
    evaluation: Evaluation,
    audit: Audit,
    champion: Champion | None,
    settings: Settings,
    benchmarks: Mapping[str, tuple[Scored, Scored]] | None = None,
) -> GateDecision:
    """Whether the evaluated candidate may be published. `benchmarks`: candidate and champion on each, by name."""
    test = evaluation.scored_test
    counts = Counter(member.sample.label for member in test.samples)
    measured: dict[str, Any] = {
        "champion": champion.name if champion else None,
        "test": {"n": len(test), "real": counts["real"], "ai_generated": counts["ai_generated"]},
        "confidence": settings.confidence,
        "margins": {
            "auc": settings.margin,
            "balanced_accuracy": settings.accuracy_margin,
            "nll": settings.loss_margin,
            "slice": settings.slice_margin,
        },
    }
    verdict: Verdict = "first"
    if champion is None:
        objections, remarks = judge_first(evaluation, audit, settings, measured)
        objections += _calibration_objections(evaluation, None, settings)
    else:
        verdict, objections, remarks = _judge_against(champion, evaluation, settings, measured)
        objections += probe_objections(test, audit, settings, measured)
    objections += benchmark_objections(benchmarks or {}, settings, measured)
    objections += unseen_objections(evaluation.unseen, champion.unseen_auc if champion else None, settings, measured)
    objections += audit.problems
    if not settings.enabled:
        said = [f"would have been rejected: {objection}" for objection in objections]
        return GateDecision(True, "gate_off", ["the gate is switched off (gate.enabled)", *said, *remarks], measured)
    if objections:
        return GateDecision(False, "rejected", objections, measured, what_to_collect(objections))
    return GateDecision(True, verdict, remarks, measured)


def _judge_against(
    champion: Champion, evaluation: Evaluation, settings: Settings, measured: dict[str, Any]
) -> tuple[Verdict, list[str], list[str]]:
    test = evaluation.scored_test
    rival = score(champion.scorer, test.samples, champion.temperature)
    if set(test.targets.tolist()) != {0, 1}:
        return "rejected", ["the test split lacks one label: candidate and champion cannot be compared"], []
    measured["overall"] = overall = paired_differences(test, rival, settings)
    objections = _overall_objections(overall, champion.name, settings)
    measured["slices"] = slices = _slice_differences(test, rival, settings)
    objections += [
        f"{name} ({entry['n']} pictures): accuracy falls by {-entry['difference']:.3f} against {champion.name}, "
        f"at most {settings.slice_margin:.3f} is allowed"
        for name, entry in slices.items()
        if entry["difference"] < -settings.slice_margin and entry["high"] < 0
    ]
    objections += _calibration_objections(evaluation, rival, settings)
    auc = overall["auc"]
    better = auc["low"] > 0
    words = "better than" if better else "not worse than"
    remarks = [
        f"{words} {champion.name}: AUC {auc['candidate']:.3f} against {auc['champion']:.3f} on the same {len(test)} "
        f"test pictures, difference {auc['difference']:+.3f} (at least {auc['low']:+.3f})"
    ]
    return ("improvement" if better else "not_worse"), objections, remarks


def paired_differences(candidate: Scored, rival: Scored, settings: Settings) -> dict[str, Any]:
    """Candidate minus champion on the same draws, so that positive is better, with one-sided ends at the confidence."""
    targets, groups = candidate.targets, candidate.groups
    once = np.ones((1, len(targets)))
    points = [_compared(once, targets, scored.probabilities) for scored in (candidate, rival)]
    draws: dict[str, list[Floats]] = {name: [] for name in COMPARED}
    for weights in Resampler(targets, groups, REPLICATES).weights():
        both = [_compared(weights, targets, scored.probabilities) for scored in (candidate, rival)]
        for name in COMPARED:
            draws[name].append(both[0][name] - both[1][name])
    compared: dict[str, Any] = {}
    for name in COMPARED:
        sign = -1.0 if name == "nll" else 1.0
        ends = percentile_interval(sign * np.concatenate(draws[name]), 2 * settings.confidence - 1)
        low, high = ends or (-1.0, 1.0)
        compared[name] = {
            "candidate": float(points[0][name][0]),
            "champion": float(points[1][name][0]),
            "difference": float(sign * (points[0][name] - points[1][name])[0]),
            "low": low,
            "high": high,
        }
    return compared


def _compared(weights: Floats, targets: Ints, probabilities: Floats) -> dict[str, Floats]:
    """The COMPARED metrics for each row of weights."""
    called = probabilities >= MIDDLE
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = weights @ (called & (targets == 1)) / (weights @ (targets == 1))
        specificity = weights @ (~called & (targets == 0)) / (weights @ (targets == 0))
        return {
            "auc": weighted_auc(weights, targets, probabilities),
            "balanced_accuracy": (recall + specificity) / 2,
            "nll": weights @ log_losses(targets, probabilities) / weights.sum(axis=1),
        }


def _overall_objections(overall: dict[str, Any], champion: str, settings: Settings) -> list[str]:
    margins = {"auc": settings.margin, "balanced_accuracy": settings.accuracy_margin, "nll": settings.loss_margin}
    names = {"auc": "AUC", "balanced_accuracy": "balanced accuracy", "nll": "log loss"}
    objections = []
    for name, margin in margins.items():
        entry = overall[name]
        if entry["low"] >= -margin:
            continue
        sure = "is worse" if entry["high"] < 0 else "may be worse, the test split is too small to rule it out"
        objections.append(
            f"{names[name]} {entry['candidate']:.3f} against {entry['champion']:.3f} of {champion}: {sure} "
            f"(difference between {entry['low']:+.3f} and {entry['high']:+.3f}, positive is better; "
            f"at least {-margin:+.3f} is needed)"
        )
    return objections


def _slice_differences(candidate: Scored, rival: Scored, settings: Settings) -> dict[str, Any]:
    """Accuracy by generator and real source, for those with enough test pictures."""
    counts = Counter(origin(member) for member in candidate.samples)
    found: dict[str, Any] = {}
    for name, count in sorted(counts.items()):
        if count < settings.slice_images:
            continue
        own = [scored.where(lambda member, name=name: origin(member) == name) for scored in (candidate, rival)]  # type: ignore[misc]
        targets, groups = own[0].targets, own[0].groups
        correct = [((scored.probabilities >= MIDDLE) == targets).astype(np.float64) for scored in own]
        gains = correct[0] - correct[1]
        draws = np.concatenate(
            [weights @ gains / weights.sum(axis=1) for weights in Resampler(targets, groups, REPLICATES).weights()]
        )
        low, high = percentile_interval(draws, 2 * settings.confidence - 1) or (-1.0, 1.0)
        found[name] = {
            "n": count,
            "candidate": float(correct[0].mean()),
            "champion": float(correct[1].mean()),
            "difference": float(gains.mean()),
            "low": low,
            "high": high,
        }
    return found


def _calibration_objections(evaluation: Evaluation, rival: Scored | None, settings: Settings) -> list[str]:
    """The calibration error is only judged where there are enough pictures to measure it."""
    error = evaluation.test["ece"]
    if error.value is None or error.low is None or error.n < settings.calibration_images:
        return []
    before = expected_calibration_error(rival.targets, rival.probabilities) if rival else 0.0
    if error.low <= settings.max_calibration_error or error.value <= before:
        return []
    return [
        f"calibration error {error.value:.3f} (interval from {error.low:.3f}); "
        f"{settings.max_calibration_error:.3f} is allowed"
    ]


def render_decision(card: dict[str, Any]) -> str:
    """The gate's decision (`GateDecision.to_card`) as plain lines for a terminal."""
    measured = card["measured"]
    lines = [
        f"{'published' if card['publish'] else 'kept out'}: {card['verdict'].replace('_', ' ')}",
        *(f"  - {reason}" for reason in card["reasons"]),
        *([f"  what helps: {card['collect']}"] if card.get("collect") else []),
        f"test split: {measured['test']['n']} pictures ({measured['test']['real']} real, "
        f"{measured['test']['ai_generated']} ai_generated); champion: {measured['champion'] or 'none yet'}",
    ]
    for title, table in (("overall", measured.get("overall", {})), ("slices", measured.get("slices", {}))):
        for name, entry in table.items():
            margin = measured["margins"].get(name, measured["margins"]["slice"])
            lines.append(
                f"  {title}, {name}: candidate {entry['candidate']:.3f}, champion {entry['champion']:.3f}, "
                f"difference {entry['difference']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}], "
                f"margin {-margin:+.3f}"
            )
    for name, entry in measured.get("probes", {}).items():
        lines.append(
            f"  {name}: candidate AUC {entry['candidate']:.3f}, probe {entry['probe']:.3f}, "
            f"difference {entry['difference']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}]"
        )
    return "\n".join(lines)
