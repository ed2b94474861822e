"""The headline: how a version does on sources and generators that it never saw, with what that is known from.

    unseen_auc            both left out: how well the pictures of a new generator are told from those of a new source
    unseen_false_alarms   pictures of a new real source that are called generated, at thresholds set without that source
    unseen_found          pictures of a new generator that are called generated, at the shipped thresholds

Each is a mean over what was left out, with the worst. The interval is that of one more source: sources are drawn, and
groups within them, and it is widened to what as few sources as there are can say (Wilson, Newcombe; sources as
observations). `within` is the interval of the mean over these very sources, by groups alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data.types import Floats
from trainer.evaluation.leave_sources_out import LeftOut, LeftOutSources
from trainer.evaluation.operating_points import MIDDLE, OperatingPoints, verdicts
from trainer.stats.intervals import Resampler, auc_interval, hull, percentile_interval, wilson
from trainer.stats.metrics import measure, weighted_auc
from trainer.stats.predictions import Bools, Ints

REPLICATES = 500
LEAST_SOURCES = 2
NAMES = ("unseen_auc", "unseen_false_alarms", "unseen_found")


@dataclass(frozen=True, slots=True)
class Unseen:
    """One figure; `value` None says `why`, and what to collect. `sources` counts what was left out in turn."""

    value: float | None
    low: float | None = None
    high: float | None = None
    worst: float | None = None
    worst_name: str = ""
    within: tuple[float, float] | None = None
    sources: int = 0
    n: int = 0
    why: str | None = None

    def to_entry(self) -> dict[str, Any]:
        """For the registry: `{value, low, high, worst}`, all null with `why` when it is not known."""
        entry: dict[str, Any] = {name: _rounded(getattr(self, name)) for name in ("value", "low", "high", "worst")}
        return entry if self.why is None else entry | {"why": self.why}

    def to_card(self) -> dict[str, Any]:
        within = [_rounded(end) for end in self.within] if self.within else None
        facts = {"worst_name": self.worst_name, "within": within, "sources": self.sources, "n": self.n}
        return self.to_entry() | facts


def unseen_figures(left_out: LeftOutSources, points: OperatingPoints, cut: float | None = None) -> dict[str, Unseen]:
    """The three figures of the headline, by name. Pictures beyond the novelty `cut` get no verdict."""
    real = [
        (fold, (fold.own.probabilities >= points.threshold_without(fold.name)) & fold.is_familiar(cut))
        for fold in left_out.real
    ]
    generated = [
        (fold, (fold.own.probabilities >= points.threshold_ai) & fold.is_familiar(cut)) for fold in left_out.generated
    ]
    return {
        "unseen_auc": _auc(left_out),
        "unseen_false_alarms": _rate(real, np.max, "not known: two real sources are needed", "real"),
        "unseen_found": _rate(generated, np.min, "not known: two generators are needed", "ai_generated"),
    }


def unseen_card(
    left_out: LeftOutSources, points: OperatingPoints, figures: dict[str, Unseen], cut: float | None = None
) -> dict[str, Any]:
    """The card's `evaluation.unseen`."""
    return {
        **{name: figure.to_card() for name, figure in figures.items()},
        "verdict_share": {
            label: _verdict_share(folds, points, cut)
            for label, folds in (("real", left_out.real), ("ai_generated", left_out.generated))
        },
        "unfamiliar_share": {
            label: _mean([float((~fold.is_familiar(cut)).mean()) for fold in folds])
            for label, folds in (("real", left_out.real), ("ai_generated", left_out.generated))
        },
        "method": left_out.method,
    }


def by_name(folds: Sequence[LeftOut]) -> dict[str, Any]:
    """The card's `leave_one_…_out`: of each fold, the usual metrics against the other label's test pictures."""
    reported = ("auc", "balanced_accuracy", "recall", "specificity")
    found = {fold.name: measure(fold.against, MIDDLE, REPLICATES) for fold in folds}
    aucs = [measured["auc"].value for measured in found.values() if measured["auc"].value is not None]
    return {
        "by_name": {
            name: {metric: measured[metric].to_card() for metric in reported} for name, measured in found.items()
        },
        "mean_auc": float(np.mean(aucs)) if aucs else None,
        "worst_auc": float(min(aucs)) if aucs else None,
        **({} if found else {"why": "fewer than two could be left out"}),
    }


def _rate(folds: Sequence[tuple[LeftOut, Bools]], worst: Any, why: str, folder: str) -> Unseen:
    if len(folds) < LEAST_SOURCES:
        return Unseen(None, why=f"{why}; sort pictures into folders by where they come from ({folder}/<name>/…)")
    rates = np.array([float(events.mean()) for _, events in folds])
    draws = np.stack([_share_draws(events, fold.own.targets, fold.own.groups) for fold, events in folds])
    value = float(rates.mean())
    low, high = hull(_hierarchical(draws), wilson(value, len(folds))) or (0.0, 1.0)
    extreme = float(worst(rates))
    return Unseen(
        value,
        low,
        high,
        extreme,
        folds[int(np.flatnonzero(rates == extreme)[0])][0].name,
        percentile_interval(draws.mean(axis=0)),
        len(folds),
        sum(len(events) for _, events in folds),
    )


def _auc(left_out: LeftOutSources) -> Unseen:
    if min(len(left_out.real), len(left_out.generated)) < LEAST_SOURCES or not left_out.pairs:
        return Unseen(
            None,
            why="not known: two real sources and two generators are needed; sort pictures into folders by where they "
            "come from (real/<source>/…, ai_generated/<generator>/…)",
        )
    draws, values = [], []
    for pair in left_out.pairs:
        targets = pair.targets
        values.append(float(weighted_auc(np.ones((1, len(targets))), targets, pair.probabilities)[0]))
        blocks = Resampler(targets, pair.groups, REPLICATES).weights()
        draws.append(np.concatenate([weighted_auc(weights, targets, pair.probabilities) for weights in blocks]))
    value, stacked = float(np.mean(values)), np.stack(draws)
    few = auc_interval(value, len(left_out.generated), len(left_out.real))
    low, high = hull(_hierarchical(stacked), few) or (0.0, 1.0)
    worst = int(np.argmin(values))
    return Unseen(
        value,
        low,
        high,
        values[worst],
        left_out.pair_names[worst],
        percentile_interval(stacked.mean(axis=0)),
        len(left_out.folds),
        sum(len(pair) for pair in left_out.pairs),
    )


def _share_draws(events: Bools, targets: Ints, groups: Ints) -> Floats:
    blocks = Resampler(targets, groups, REPLICATES).weights()
    return np.concatenate([weights @ events / weights.sum(axis=1) for weights in blocks])


def _hierarchical(draws: Floats) -> tuple[float, float] | None:
    """Of replicates [sources, n]: sources drawn with replacement, and of each a replicate."""
    generator = np.random.default_rng(0)
    sources, count = draws.shape
    drawn = generator.integers(sources, size=(count, sources))
    return percentile_interval(draws[drawn, generator.integers(count, size=(count, sources))].mean(axis=1))


def _verdict_share(folds: Sequence[LeftOut], points: OperatingPoints, cut: float | None) -> float | None:
    """The mean, over what was left out, of the share of pictures that are not uncertain."""
    return _mean(
        [float(((verdicts(fold.own.probabilities, points) >= 0) & fold.is_familiar(cut)).mean()) for fold in folds]
    )


def _mean(shares: Sequence[float]) -> float | None:
    return round(float(np.mean(shares)), 6) if shares else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
