"""What is measured of a set of scored samples: the point values by scikit-learn, the intervals by `intervals.py`.

The bootstrap needs every metric for thousands of weightings at once; `replicate_metrics` has the same definitions over
a whole block of weightings. A test holds the two together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import xlogy
from sklearn import metrics as sk

from trainer.data.types import Floats
from trainer.stats.intervals import Measured, Resampler, auc_interval, hull, missing, percentile_interval, wilson
from trainer.stats.predictions import Bools, Ints, Scored

BINS = 15  # of the expected calibration error, equally wide
FALSE_POSITIVE_RATES = (0.01, 0.05, 0.10)
RANKING = ("auc", "ap", "tpr_at_fpr_1", "tpr_at_fpr_5", "tpr_at_fpr_10", "eer")
DECISIONS = ("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1")
PROBABILITIES = ("ece", "nll", "brier")
METRICS = (*RANKING, *DECISIONS, *PROBABILITIES)
SMALLEST_PROBABILITY = 1e-7  # of the log loss

Values = dict[str, float]


def measure(scored: Scored, threshold: float, replicates: int, seed: int = 0) -> dict[str, Measured]:
    """Every metric with its interval; `threshold` is that of the decisions (p >= threshold is ai_generated)."""
    targets, groups = scored.targets, scored.groups
    if not len(scored):
        return dict.fromkeys(METRICS, missing("there are no pictures in this part"))
    values = point_metrics(targets, scored.probabilities, threshold)
    blocks = [
        replicate_metrics(weights, targets, scored.probabilities, threshold)
        for weights in Resampler(targets, groups, replicates, seed).weights()
    ]
    exact = _small_sample_intervals(values, targets, groups, scored.probabilities >= threshold)
    measured: dict[str, Measured] = {}
    for name in METRICS:
        basis = _basis(name, targets)
        n, group_count = int(basis.sum()), len(np.unique(groups[basis]))
        if not math.isfinite(values[name]):
            measured[name] = missing(_why_missing(targets), n, group_count)
            continue
        interval = hull(percentile_interval(np.concatenate([block[name] for block in blocks])), exact.get(name))
        low, high = interval if interval else (None, None)
        measured[name] = Measured(values[name], low, high, n, group_count)
    return measured


def to_card(measured: dict[str, Measured]) -> dict[str, Any]:
    return {name: value.to_card() for name, value in measured.items()}


def point_metrics(targets: Ints, probabilities: Floats, threshold: float) -> Values:
    """Every metric by scikit-learn; NaN where it is not defined."""
    values = dict.fromkeys(METRICS, math.nan)
    called = (probabilities >= threshold).astype(np.int64)
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    values["accuracy"] = float(sk.accuracy_score(targets, called))
    values["nll"] = float(sk.log_loss(targets, clipped, labels=[0, 1]))
    values["brier"] = float(sk.brier_score_loss(targets, probabilities, pos_label=1))
    values["ece"] = expected_calibration_error(targets, probabilities)
    values["precision"] = float(sk.precision_score(targets, called, zero_division=0.0))
    if targets.any():
        values["recall"] = float(sk.recall_score(targets, called))
        values["f1"] = float(sk.f1_score(targets, called, zero_division=0.0))
    if not targets.all():
        values["specificity"] = float(sk.recall_score(targets, called, pos_label=0))
    if targets.any() and not targets.all():
        values["balanced_accuracy"] = (values["recall"] + values["specificity"]) / 2
        values["auc"] = float(sk.roc_auc_score(targets, probabilities))
        values["ap"] = float(sk.average_precision_score(targets, probabilities))
        false_rates, true_rates, _ = sk.roc_curve(targets, probabilities, drop_intermediate=False)
        for rate in FALSE_POSITIVE_RATES:
            values[_tpr_name(rate)] = float(true_rates[false_rates <= rate + 1e-12].max())
        values["eer"] = float(_equal_error_rate(false_rates[None], true_rates[None])[0])
    return values


def expected_calibration_error(targets: Ints, probabilities: Floats) -> float:
    """Mean distance of P(ai_generated) from the share of ai_generated over BINS bins (Naeini et al., AAAI 2015)."""
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(bins, weights=targets - probabilities, minlength=BINS)).sum() / len(targets))


def log_losses(targets: Ints, probabilities: Floats) -> Floats:
    """Of each sample, in nats."""
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.asarray(-(xlogy(targets, clipped) + xlogy(1 - targets, 1 - clipped)))


def replicate_metrics(weights: Floats, targets: Ints, probabilities: Floats, threshold: float) -> dict[str, Floats]:
    """Every metric for each row of `weights` [replicates, samples]; NaN where a row leaves it undefined."""
    positives, negatives = targets == 1, targets == 0
    called = probabilities >= threshold
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    in_bin = np.eye(BINS)[bins] * (targets - probabilities)[:, None]
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        hits = weights @ (positives & called)
        positive_weight, negative_weight = weights @ positives, weights @ negatives
        recall = hits / positive_weight
        specificity = weights @ (negatives & ~called) / negative_weight
        called_weight = weights @ called
        values = {
            "accuracy": weights @ (positives == called) / total,
            "balanced_accuracy": (recall + specificity) / 2,
            "precision": np.where(called_weight > 0, hits / called_weight, 0.0),
            "recall": recall,
            "specificity": specificity,
            "f1": np.where(positive_weight > 0, 2 * hits / (positive_weight + called_weight), np.nan),
            "ece": np.abs(weights @ in_bin).sum(axis=1) / total,
            "nll": weights @ log_losses(targets, probabilities) / total,
            "brier": weights @ (targets - probabilities) ** 2 / total,
        }
        return values | _ranking_metrics(weights, targets, probabilities)


def weighted_auc(weights: Floats, targets: Ints, scores: Floats) -> Floats:
    """The AUC of each row of `weights`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        false_rates, true_rates, _ = _roc(weights, targets, scores)
        return np.asarray(np.trapezoid(true_rates, false_rates, axis=1))


def _ranking_metrics(weights: Floats, targets: Ints, probabilities: Floats) -> dict[str, Floats]:
    false_rates, true_rates, precision = _roc(weights, targets, probabilities)
    values = {
        "auc": np.trapezoid(true_rates, false_rates, axis=1),
        "ap": (np.diff(true_rates, axis=1) * precision).sum(axis=1),
        "eer": _equal_error_rate(false_rates, true_rates),
    }
    for rate in FALSE_POSITIVE_RATES:
        values[_tpr_name(rate)] = np.where(false_rates <= rate + 1e-12, true_rates, 0.0).max(axis=1)
    undefined = ~np.isfinite(values["auc"])
    return {name: np.where(undefined, np.nan, value) for name, value in values.items()}


def _roc(weights: Floats, targets: Ints, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """False and true positive rates [replicates, 1 + distinct scores] from the highest score down, and precision."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    ordered = weights[:, order]
    positive = targets[order] == 1
    ends = np.append(starts[1:], len(scores)) - 1  # pictures of one score are called together
    hits = np.cumsum(ordered * positive, axis=1)[:, ends]
    false_alarms = np.cumsum(ordered * ~positive, axis=1)[:, ends]
    called = hits + false_alarms
    precision = np.where(called > 0, hits / called, 0.0)
    zero = np.zeros((len(weights), 1))
    return (
        np.hstack([zero, false_alarms / false_alarms[:, -1:]]),
        np.hstack([zero, hits / hits[:, -1:]]),
        precision,
    )


def _equal_error_rate(false_rates: Floats, true_rates: Floats) -> Floats:
    """Where the false positive rate meets the miss rate, on the line between the two nearest points."""
    gap = (1 - true_rates) - false_rates  # falls from 1 to -1
    after = np.argmax(gap <= 0, axis=1)
    rows = np.arange(len(gap))
    before = np.maximum(after - 1, 0)
    fall = gap[rows, before] - gap[rows, after]
    share = np.where(fall > 0, gap[rows, before] / np.where(fall > 0, fall, 1), 0.0)
    rate = false_rates[rows, before] + share * (false_rates[rows, after] - false_rates[rows, before])
    return np.where(np.isfinite(gap[:, -1]), rate, np.nan)


def _small_sample_intervals(
    values: Values, targets: Ints, groups: Ints, called: Bools
) -> dict[str, tuple[float, float]]:
    def count(chosen: Bools) -> int:
        return len(np.unique(groups[chosen]))

    positives, negatives = count(targets == 1), count(targets == 0)
    observations = {
        "accuracy": count(np.ones_like(called)),
        "precision": count(called),
        "recall": positives,
        "specificity": negatives,
        "eer": min(positives, negatives),
        **{_tpr_name(rate): positives for rate in FALSE_POSITIVE_RATES},
    }
    intervals = {
        name: wilson(values[name], number) for name, number in observations.items() if math.isfinite(values[name])
    }
    if math.isfinite(values["auc"]):
        intervals["auc"] = auc_interval(values["auc"], positives, negatives)
        intervals["balanced_accuracy"] = _half_sum(
            values["recall"], intervals["recall"], values["specificity"], intervals["specificity"]
        )
        if values["ap"] > 1 - 1e-9:  # no closed form of its own; a perfect ranking is as sure as its AUC
            intervals["ap"] = intervals["auc"]
    if math.isfinite(values["f1"]) and "precision" in intervals:
        ends = [_harmonic(intervals["precision"][end], intervals["recall"][end]) for end in (0, 1)]
        intervals["f1"] = (ends[0], ends[1])
    return intervals


def _half_sum(
    first: float, of_first: tuple[float, float], second: float, of_second: tuple[float, float]
) -> tuple[float, float]:
    """MOVER: the interval of the mean of two independent shares, from theirs (Zou and Donner, 2008)."""
    middle = (first + second) / 2
    low = middle - math.hypot(first - of_first[0], second - of_second[0]) / 2
    high = middle + math.hypot(of_first[1] - first, of_second[1] - second) / 2
    return max(0.0, low), min(1.0, high)


def _harmonic(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second else 0.0


def _tpr_name(rate: float) -> str:
    return f"tpr_at_fpr_{round(100 * rate)}"


def _basis(name: str, targets: Ints) -> Bools:
    """The pictures that a metric is a share of."""
    if name == "recall" or name.startswith("tpr_at"):
        return np.asarray(targets == 1)
    return np.asarray(targets == 0 if name == "specificity" else np.ones(len(targets), dtype=bool))


def _why_missing(targets: Ints) -> str:
    return "there are no ai_generated pictures" if not targets.any() else "there are no real pictures"
