"""Temperature and thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from judging import KnownScorer, make_members, make_sample, make_scored, noisy_scorer

from trainer.data.types import GroupedSample
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.operating_points import operating_points
from trainer.evaluation.temperature import fit_temperature, log_loss
from trainer.stats.predictions import Scored
from utils.config.training import Evaluation

SETTINGS = Evaluation()


def test_an_overconfident_model_gets_the_temperature_it_was_sharpened_by() -> None:
    rng = np.random.default_rng(0)
    honest = rng.logistic(0, 1, 20_000)
    targets = (rng.uniform(size=20_000) < 1 / (1 + np.exp(-honest))).astype(int)
    assert fit_temperature(honest * 4, targets) == pytest.approx(4, rel=0.1)
    assert fit_temperature(honest / 3, targets) == pytest.approx(1 / 3, rel=0.1)


def test_a_few_pictures_told_apart_perfectly_do_not_make_it_certain() -> None:
    assert 0.2 < fit_temperature(np.array([-3.0, -2, 2, 3]), np.array([0, 0, 1, 1])) < 1


def test_the_loss_is_stable_for_large_logits() -> None:
    assert log_loss(np.array([1e4, -1e4]), np.array([1, 0]), 1.0) == 0.0
    assert log_loss(np.array([1e4]), np.array([0]), 1.0) == pytest.approx(1e4)


def test_calibration_lowers_the_loss_and_says_what_it_was_fitted_on() -> None:
    members = make_members(200, "calibration")
    scorer = KnownScorer({key: 5 * value for key, value in noisy_scorer(members, 0.8, 0)._logits.items()})
    calibration = calibrate(scorer, {"train": [], "validation": [], "calibration": members, "test": []}, SETTINGS)
    assert calibration.temperature > 2
    assert calibration.nll_after < calibration.nll_before
    assert calibration.fitted_on == ("calibration",)
    assert calibration.to_card()["n"] == 200


def test_a_missing_label_takes_the_validation_part_along_or_leaves_the_temperature_at_one() -> None:
    real = [member for member in make_members(40, "calibration") if member.sample.target == 0]
    validation = make_members(40, "validation")
    scorer = noisy_scorer([*real, *validation], 2, 0)
    parts = {"train": [], "validation": validation, "calibration": real, "test": []}
    assert calibrate(scorer, parts, SETTINGS).fitted_on == ("calibration", "validation")
    alone = calibrate(scorer, parts | {"validation": []}, SETTINGS)
    assert (alone.temperature, alone.fitted_on) == (1.0, ())
    assert "one label is missing" in alone.points.note
    empty = calibrate(scorer, parts | {"validation": [], "calibration": []}, SETTINGS)
    assert (empty.points.threshold_ai, empty.points.threshold_real) == (0.55, 0.45)


def slices(probabilities: dict[str, list[float]], target: int) -> list[tuple[GroupedSample, float]]:
    return [
        (
            GroupedSample(make_sample(f"{name}{i}", target, source=name, generator=name), f"{name}{i}", "calibration"),
            value,
        )
        for name, values in probabilities.items()
        for i, value in enumerate(values)
    ]


def scored(*parts: list[tuple[GroupedSample, float]]) -> Scored:
    both = [pair for part in parts for pair in part]
    return Scored(tuple(member for member, _ in both), np.array([value for _, value in both]))


def test_the_threshold_is_that_of_the_worst_real_source() -> None:
    rng = np.random.default_rng(0)
    easy, hard = rng.uniform(0, 0.3, 100).tolist(), rng.uniform(0.2, 0.8, 100).tolist()
    generated = slices({"flux": rng.uniform(0.4, 1, 100).tolist()}, 1)
    points = operating_points(scored(slices({"pexels": easy, "phone": hard}, 0), generated), SETTINGS)
    assert points.points[1].worst_source == "phone"
    assert points.threshold_ai == points.points[1].threshold
    assert sum(value >= points.threshold_ai for value in hard) == 5
    assert [point.threshold for point in points.points] == sorted(
        [point.threshold for point in points.points], reverse=True
    )
    assert sum(value <= points.threshold_real for _, value in generated) <= 5


def test_ties_count_against_us() -> None:
    points = operating_points(scored(slices({"pexels": [0.7] * 100}, 0), slices({"flux": [0.9] * 100}, 1)), SETTINGS)
    assert 0.7 < points.threshold_ai < 0.70001


def test_thresholds_never_cross_and_leave_the_band() -> None:
    points = operating_points(make_scored([0, 1] * 50, [0.01, 0.99] * 50), SETTINGS)
    assert (points.threshold_real, points.threshold_ai) == (0.45, 0.55)
    inverted = operating_points(make_scored([1, 0] * 50, [0.01, 0.99] * 50), SETTINGS)
    assert 0 <= inverted.threshold_real < 0.45
    assert 0.99 < inverted.threshold_ai <= 1


def test_too_few_pictures_for_a_budget_are_named() -> None:
    points = operating_points(make_scored([0, 1] * 5, [0.2, 0.8] * 5), SETTINGS)
    assert not points.points[0].observable
    assert "too few to observe" in points.note
