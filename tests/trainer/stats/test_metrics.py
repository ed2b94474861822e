"""Metrics and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import make_scored
from sklearn import metrics as sk

from trainer.stats.intervals import Resampler, auc_interval, percentile_interval, wilson
from trainer.stats.metrics import METRICS, measure, point_metrics, replicate_metrics

PICTURES = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5001, 0.75, 0.9, 1.0])), min_size=2
)


@given(PICTURES)
@settings(max_examples=150, deadline=None)
def test_the_bootstraps_metrics_are_those_of_scikit_learn(pictures: list[tuple[int, float]]) -> None:
    targets = np.array([target for target, _ in pictures])
    probabilities = np.array([probability for _, probability in pictures])
    point = point_metrics(targets, probabilities, 0.5)
    replicate = replicate_metrics(np.ones((1, len(targets))), targets, probabilities, 0.5)
    for name in METRICS:
        assert replicate[name][0] == pytest.approx(point[name], nan_ok=True, abs=1e-9), name


@given(PICTURES, st.lists(st.integers(0, 3), min_size=60, max_size=60))
@settings(max_examples=100, deadline=None)
def test_a_weight_is_worth_as_many_copies(pictures: list[tuple[int, float]], weights: list[int]) -> None:
    targets = np.array([target for target, _ in pictures])[:60]
    probabilities = np.array([probability for _, probability in pictures])[:60]
    counts = np.array(weights)[: len(targets)]
    repeated = np.repeat(np.arange(len(targets)), counts)
    if len(set(targets[repeated].tolist())) < 2:
        return
    point = point_metrics(targets[repeated], probabilities[repeated], 0.5)
    replicate = replicate_metrics(counts[None].astype(float), targets, probabilities, 0.5)
    for name in METRICS:
        assert replicate[name][0] == pytest.approx(point[name], nan_ok=True, abs=1e-9), name


def test_values_against_scikit_learn_by_hand() -> None:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 2, 300)
    probabilities = np.clip(targets * 0.3 + rng.uniform(0, 0.7, 300), 0, 1)
    measured = measure(make_scored(targets.tolist(), probabilities.tolist()), 0.5, 200)
    assert measured["auc"].value == pytest.approx(sk.roc_auc_score(targets, probabilities))
    assert measured["nll"].value == pytest.approx(sk.log_loss(targets, probabilities))
    for name, value in measured.items():
        assert value.low <= value.value <= value.high or name == "ece", name


def test_a_perfect_score_on_few_pictures_is_not_certain() -> None:
    measured = measure(make_scored([0, 1] * 5, [0.1, 0.9] * 5), 0.5, 200)
    assert measured["auc"].value == 1.0
    for name in (
        "auc",
        "ap",
        "accuracy",
        "balanced_accuracy",
        "recall",
        "specificity",
        "precision",
        "f1",
        "tpr_at_fpr_5",
    ):
        assert 0.4 < measured[name].low < 0.9, name
        assert measured[name].high == 1.0


def test_pictures_of_one_group_are_one_observation() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(200) // 20 % 2  # ten groups of twenty that score alike
    scores = np.clip(0.5 + (targets - 0.5) * 0.3 + np.repeat(rng.normal(0, 0.3, 10), 20), 0, 1)
    grouped = measure(make_scored(targets.tolist(), scores.tolist(), [f"g{i // 20}" for i in range(200)]), 0.5, 500)[
        "auc"
    ]
    alone = measure(make_scored(targets.tolist(), scores.tolist()), 0.5, 500)["auc"]
    assert grouped.groups == 10
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_what_cannot_be_measured_is_missing_with_a_reason() -> None:
    one_label = measure(make_scored([0, 0, 0], [0.1, 0.2, 0.7]), 0.5, 100)
    assert one_label["auc"].value is None
    assert one_label["auc"].why == "there are no ai_generated pictures"
    assert one_label["specificity"].value == pytest.approx(2 / 3)
    assert measure(make_scored([], []), 0.5, 100)["accuracy"].why == "there are no pictures in this part"
    assert one_label["auc"].to_card() == {
        "value": None, "low": None, "high": None, "n": 3, "groups": 3, "why": "there are no ai_generated pictures",
    }  # fmt: skip


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        targets = np.repeat([0, 1], 25)
        scores = 1 / (1 + np.exp(-rng.normal(targets * 1.0, 1)))  # the true AUC is 0.760
        measured = measure(make_scored(targets.tolist(), scores.tolist()), 0.5, 200)["auc"]
        covered += measured.low <= 0.760 <= measured.high
    assert covered >= 54


def test_measuring_is_deterministic() -> None:
    scored = make_scored([0, 1, 1, 0, 1, 0], [0.2, 0.7, 0.4, 0.6, 0.8, 0.1])
    assert measure(scored, 0.5, 200) == measure(scored, 0.5, 200)


def test_the_bootstrap_draws_whole_groups_and_keeps_the_labels_share() -> None:
    targets = np.array([0, 0, 0, 1, 1, 1, 1])
    groups = np.array([0, 0, 1, 2, 2, 3, 3])
    weights = np.concatenate(list(Resampler(targets, groups, 50).weights()))
    assert weights.shape == (50, 7)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [3, 5]].sum(axis=1) == 2).all()


def test_intervals_at_the_ends_of_the_scale() -> None:
    assert wilson(1.0, 10)[0] == pytest.approx(0.722, abs=0.001)
    assert wilson(0.0, 0) == (0.0, 1.0)
    low, high = auc_interval(1.0, 10, 10)
    assert 0.75 < low < 0.9
    assert high == 1.0
    assert auc_interval(0.0, 10, 10)[1] == pytest.approx(1 - low, abs=1e-6)
    low, high = auc_interval(0.5, 1000, 1000)
    assert low == pytest.approx(0.475, abs=0.003)
    assert high == pytest.approx(0.525, abs=0.003)
    assert percentile_interval(np.array([np.nan, np.nan, 1.0])) is None
