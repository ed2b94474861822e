"""The gate: what is worse stays out, what is equal is not called better, and every decision says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from judging import KnownScorer, make_members, make_sample, noisy_scorer
from sklearn.linear_model import SGDClassifier

from trainer.audit.audit import Audit
from trainer.audit.objection import Objection
from trainer.data.types import GroupedSample
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.evaluate import Evaluation
from trainer.evaluation.unseen import Unseen
from trainer.gate.advice import ADVICE, OTHERWISE, what_to_collect
from trainer.gate.gate import Champion, GateDecision, decide, render_decision
from trainer.stats.metrics import measure
from trainer.stats.predictions import score
from utils.config.training import Evaluation as EvaluationSettings
from utils.config.training import Gate

QUICK = EvaluationSettings(bootstrap_samples=100)
GATE = Gate()
CLEAN = Audit({}, (), (), {})
SEEDS = range(20)
LOADED_MACHINE = pytest.mark.timeout(300)  # twenty trainings and bootstraps each, seconds when alone


def judged(
    scorer: KnownScorer, test: Sequence[GroupedSample], calibration: Sequence[GroupedSample]
) -> tuple[Evaluation, float]:
    parts = {"train": [], "validation": [], "calibration": list(calibration), "test": list(test)}
    temperature = calibrate(scorer, parts, QUICK).temperature
    scored = score(scorer, list(test), temperature)
    return Evaluation({}, measure(scored, 0.5, QUICK.bootstrap_samples), scored, {}), temperature


def decide_between(
    candidate: KnownScorer,
    champion: KnownScorer,
    test: Sequence[GroupedSample],
    calibration: Sequence[GroupedSample],
    gate: Gate = GATE,
) -> GateDecision:
    evaluation, _ = judged(candidate, test, calibration)
    _, temperature = judged(champion, test, calibration)
    return decide(evaluation, CLEAN, Champion("vit/v1", champion, temperature), gate)


class World:
    """Features of pictures in 24 dimensions, of which six tell the labels apart; models are fitted on them by SGD."""

    def __init__(self, seed: int, test_size: int, difficulty: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.difficulty = difficulty
        self.test = make_members(test_size, "test", group_size=2, prefix=f"w{seed}")
        self.calibration = make_members(200, "calibration", prefix=f"w{seed}")
        self.features = {
            member.sample.sha256: self.draw(np.array([member.sample.target]))[0]
            for member in [*self.test, *self.calibration]
        }

    def draw(self, targets: np.ndarray) -> np.ndarray:
        signal = np.zeros((len(targets), 24))
        signal[:, :6] = (targets[:, None] - 0.5) * 1.2 / self.difficulty
        return signal + self.rng.normal(size=signal.shape)

    def train(self, seed: int, epochs: int = 20, flipped: float = 0.0, size: int = 600) -> KnownScorer:
        targets = np.arange(size) % 2
        features = self.draw(targets)
        rng = np.random.default_rng(seed)
        labels = np.where(rng.random(size) < flipped, 1 - targets, targets)
        return self.fit(features, labels, seed, epochs)

    def fit(self, features: np.ndarray, labels: np.ndarray, seed: int, epochs: int) -> KnownScorer:
        model = SGDClassifier(
            loss="log_loss", learning_rate="constant", eta0=0.01, max_iter=epochs, tol=None, random_state=seed
        )
        logits = model.fit(features, labels).decision_function(np.stack(list(self.features.values())))
        return KnownScorer(dict(zip(self.features, logits.tolist(), strict=True)))


@LOADED_MACHINE
@pytest.mark.parametrize("test_size", [60, 400])
def test_a_candidate_trained_on_flipped_labels_is_rejected(test_size: int) -> None:
    rejected = 0
    for seed in SEEDS:
        world = World(seed, test_size)
        decision = decide_between(
            world.train(seed, flipped=0.3, size=150), world.train(seed, size=600), world.test, world.calibration
        )
        rejected += not decision.publish
    assert rejected >= 19


@LOADED_MACHINE
def test_half_the_epochs_on_a_harder_set_is_rejected() -> None:
    rejected = 0
    for seed in SEEDS:
        world = World(seed, 300, difficulty=1.3)
        champion = world.train(seed, epochs=20)
        world.difficulty = 3.0
        candidate = world.train(seed, epochs=10, size=200)
        rejected += not decide_between(candidate, champion, world.test, world.calibration).publish
    assert rejected >= 19


@LOADED_MACHINE
@pytest.mark.parametrize("test_size", [60, 400])
def test_an_equal_candidate_is_rarely_called_an_improvement(test_size: int) -> None:
    improvements = 0
    for seed in SEEDS:
        world = World(seed, test_size)
        targets = np.arange(400) % 2
        features = world.draw(targets)
        models = [world.fit(features, targets, model_seed, 20) for model_seed in (seed, seed + 1000)]
        improvements += decide_between(*models, world.test, world.calibration).verdict == "improvement"
    assert improvements <= 3  # 5 % of 20, and two standard errors


def test_a_better_candidate_is_published_as_an_improvement() -> None:
    members, calibration = make_members(400), make_members(100, "calibration")
    both = [*members, *calibration]
    decision = decide_between(noisy_scorer(both, 2.5, 0), noisy_scorer(both, 0.8, 1), members, calibration)
    assert (decision.publish, decision.verdict) == (True, "improvement")
    assert "better than vit/v1" in decision.reasons[0]


def test_the_same_model_again_is_not_worse() -> None:
    members, calibration = make_members(40), make_members(40, "calibration")
    scorer = noisy_scorer([*members, *calibration], 1.5, 0)
    decision = decide_between(scorer, scorer, members, calibration)
    assert (decision.publish, decision.verdict) == (True, "not_worse")


def test_a_large_slice_that_falls_behind_keeps_a_candidate_out() -> None:
    members = []
    for name in ("flux", "sdxl"):
        for index in range(100):
            sample = make_sample(f"{name}{index}", 1, generator=name)
            members.append(GroupedSample(sample, f"{name}{index}", "test"))
    members += [GroupedSample(make_sample(f"r{index}", 0), f"r{index}", "test") for index in range(200)]
    rng = np.random.default_rng(0)

    def scorer(strengths: dict[str | None, float]) -> KnownScorer:
        return KnownScorer({m.sample.sha256: float(rng.normal(strengths[m.sample.generator], 0.7)) for m in members})

    champion = scorer({None: -2, "flux": 2, "sdxl": 2})
    candidate = scorer({None: -3.5, "flux": 6, "sdxl": 0.6})
    decision = decide_between(candidate, champion, members, [], Gate(margin=0.5, accuracy_margin=0.5, loss_margin=9))
    assert not decision.publish
    assert any(reason.startswith("sdxl (100 pictures)") for reason in decision.reasons)


def test_an_audit_problem_keeps_a_candidate_out() -> None:
    members, calibration = make_members(60), make_members(40, "calibration")
    evaluation, _ = judged(noisy_scorer([*members, *calibration], 2, 0), members, calibration)
    decision = decide(evaluation, Audit({}, ("the groups leak",), (), {}), None, GATE)
    assert decision.reasons == ["the groups leak"]
    assert decision.verdict == "rejected"


def test_the_weightiest_objection_gives_the_advice_by_its_code_and_not_by_its_words() -> None:
    shortcut, chance = Objection("learnt_shortcut", "worded anyhow"), Objection("chance", "has learnt nothing")
    assert what_to_collect([chance, shortcut]) == ADVICE["learnt_shortcut"]
    assert what_to_collect(["has learnt", chance]) == ADVICE["chance"]
    assert what_to_collect(["AUC 0.70 against 0.80"]) == OTHERWISE


def test_with_the_gate_off_everything_is_published_and_says_so() -> None:
    members, calibration = make_members(100), make_members(40, "calibration")
    both = [*members, *calibration]
    decision = decide_between(
        noisy_scorer(both, 0.2, 0), noisy_scorer(both, 2, 1), members, calibration, Gate(enabled=False)
    )
    assert (decision.publish, decision.verdict) == (True, "gate_off")
    assert decision.reasons[0] == "the gate is switched off (gate.enabled)"
    assert any(reason.startswith("would have been rejected: AUC") for reason in decision.reasons)


def first_decision(count: int, strength: float, probe_strength: float) -> GateDecision:
    members, calibration = make_members(count), make_members(100, "calibration")
    evaluation, _ = judged(noisy_scorer([*members, *calibration], strength, 3), members, calibration)
    probe = noisy_scorer(members, probe_strength, 4)._logits
    guesses = {key: 1 / (1 + np.exp(-value)) for key, value in probe.items()}
    return decide(evaluation, Audit({}, (), (), {"content_probe": guesses}), None, GATE)


def test_a_large_first_version_must_beat_the_trivial_probes() -> None:
    assert first_decision(200, 1.5, 0.5).publish
    assert not first_decision(200, 0.5, 1.5).publish
    assert not first_decision(200, 0.0, 0.0).publish
    assert "not significantly better than chance" in first_decision(200, 0.0, 0.0).reasons[0]


def test_a_first_version_must_surely_beat_chance_however_few_pictures_there_are() -> None:
    assert first_decision(20, 4.0, 0.0).publish  # ten groups of either label are enough for a perfect ranking
    unsure = first_decision(20, 0.4, 0.0)
    assert not unsure.publish
    assert "not significantly better than chance" in unsure.reasons[0]
    assert unsure.collect.startswith("collect more pictures of both labels")
    assert unsure.collect in render_decision(unsure.to_card())


def test_what_was_left_out_decides_too() -> None:
    members, calibration = make_members(200), make_members(100, "calibration")
    evaluation, _ = judged(noisy_scorer([*members, *calibration], 2, 0), members, calibration)
    chance = Unseen(0.55, 0.1, 0.9, 0.4, "phone and flux", within=(0.46, 0.63), sources=4, n=400)
    decision = decide(replace(evaluation, unseen={"unseen_auc": chance}), CLEAN, None, GATE)
    assert not decision.publish
    assert decision.reasons[0].startswith("not significantly better than chance on what it never saw: AUC 0.550")
    assert "its own folder" in decision.collect
    good = replace(chance, value=0.8, within=(0.75, 0.85))
    assert decide(replace(evaluation, unseen={"unseen_auc": good}), CLEAN, None, GATE).publish
    unknown = Unseen(None, why="not known")
    assert decide(replace(evaluation, unseen={"unseen_auc": unknown}), CLEAN, None, GATE).publish
    champion = Champion("vit/v1", noisy_scorer([*members, *calibration], 2, 0), 1.0, unseen_auc=0.95)
    worse = decide(replace(evaluation, unseen={"unseen_auc": good}), CLEAN, champion, GATE)
    assert any(reason.startswith("worse on what it never saw") for reason in worse.reasons)


def test_equally_perfect_probes_do_not_keep_a_first_version_out() -> None:
    decision = first_decision(200, 9.0, 9.0)
    assert decision.publish
    assert any("not told apart from a trivial probe" in reason for reason in decision.reasons)


def numbers_of(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers_of(part)]
    return [value] if isinstance(value, float) else []


def test_the_decision_is_rendered_with_every_number_and_is_plain_json() -> None:
    members, calibration = make_members(200), make_members(40, "calibration")
    both = [*members, *calibration]
    decision = decide_between(noisy_scorer(both, 0.9, 0), noisy_scorer(both, 1.0, 1), members, calibration)
    text = render_decision(decision.to_card())
    assert "kept out" in text.splitlines()[0] or "published" in text.splitlines()[0]
    for name in ("auc", "balanced_accuracy", "nll", "flux", "pexels"):
        assert name in text
    assert all(np.isfinite(number) for number in numbers_of(decision.measured))
