"""Calibration: one temperature, so that 0.8 means right four times out of five, and the thresholds of the verdicts.

Temperature scaling (Guo et al., ICML 2017) on the calibration split, which nothing was trained or chosen on. A weak
prior around 1 keeps the temperature finite where few pictures are told apart perfectly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data.types import GroupedSample, Part, PartsOfSplit, Scorer
from trainer.evaluation.leave_sources_out import NOTHING_LEFT_OUT, LeftOutSources
from trainer.evaluation.operating_points import OperatingPoints, operating_points
from trainer.evaluation.temperature import PRIOR_SPREAD, fit_temperature, log_loss
from trainer.stats.predictions import Ints, group_codes, score
from utils.config.training import Evaluation as Settings

PARTS_TO_TRY: tuple[tuple[Part, ...], ...] = (("calibration",), ("calibration", "validation"))
METHOD = f"temperature scaling: p = sigmoid(logit / temperature); prior: log temperature ~ N(0, {PRIOR_SPREAD:g})"


@dataclass(frozen=True, slots=True)
class Calibration:
    """`fitted_on` names the parts used; empty when neither had both labels and the temperature is 1."""

    temperature: float
    fitted_on: tuple[Part, ...]
    n: int
    groups: int
    nll_before: float | None
    nll_after: float | None
    points: OperatingPoints

    def to_card(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "method": METHOD,
            "fitted_on": list(self.fitted_on),
            "n": self.n,
            "groups": self.groups,
            "nll_before": self.nll_before,
            "nll_after": self.nll_after,
        }


def calibrate(
    scorer: Scorer, parts: PartsOfSplit, settings: Settings, left_out: LeftOutSources = NOTHING_LEFT_OUT
) -> Calibration:
    """Fit the temperature on the calibration split, with the validation split where it lacks a label; the thresholds
    on the same and on what was left out."""
    samples, fitted_on = _to_fit_on(parts)
    temperature = temperature_of(scorer, parts)
    points = operating_points(score(scorer, samples, temperature), settings, left_out)
    if not fitted_on:
        return Calibration(temperature, (), len(samples), 0, None, None, points)
    logits, targets = scorer.logits(samples), _targets(samples)
    return Calibration(
        temperature,
        fitted_on,
        len(samples),
        int(group_codes([member.group for member in samples]).max()) + 1,
        log_loss(logits, targets, 1.0),
        log_loss(logits, targets, temperature),
        points,
    )


def temperature_of(scorer: Scorer, parts: PartsOfSplit) -> float:
    """1 where neither split that may be fitted on has both labels."""
    samples, fitted_on = _to_fit_on(parts)
    return fit_temperature(scorer.logits(samples), _targets(samples)) if fitted_on else 1.0


def _to_fit_on(parts: PartsOfSplit) -> tuple[list[GroupedSample], tuple[Part, ...]]:
    """The first of PARTS_TO_TRY that has both labels; the last one, and no name of it, where none has."""
    for fitted_on in PARTS_TO_TRY:
        samples = [member for part in fitted_on for member in parts[part]]
        if {member.sample.target for member in samples} == {0, 1}:
            return samples, fitted_on
    return samples, ()


def _targets(samples: Sequence[GroupedSample]) -> Ints:
    return np.array([member.sample.target for member in samples], dtype=np.int64)
