"""Sources left out: the headline says what the next source will be like, and the thresholds are set for it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from judging import KnownScorer, make_sample
from scipy.special import expit

from trainer.data.types import PARTS, Floats, GroupedSample, PartsOfSplit
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.leave_sources_out import MOST_PAIRS, PLAIN_HEAD, REFITTED, LeftOutSources, leave_sources_out
from trainer.evaluation.operating_points import LEFT_OUT
from trainer.evaluation.unseen import NAMES, unseen_card, unseen_figures
from utils.config.training import Evaluation

SETTINGS = Evaluation(bootstrap_samples=100)
WIDTH = 16


def world(
    real: Sequence[str], generated: Sequence[str], *, signal: float, of_source: float, seed: int = 0, each: int = 60
) -> tuple[dict[str, list[GroupedSample]], KnownScorer]:
    """Features in which the label moves the first axis by `signal`, and each source all others by `of_source`."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[GroupedSample]] = {part: [] for part in PARTS}
    features: dict[str, Floats] = {}
    for target, names in ((0, real), (1, generated)):
        for name in names:
            shift = rng.normal(size=WIDTH) * of_source
            shift[0] = signal * (2 * target - 1)
            for index in range(each):
                part = PARTS[(0, 0, 0, 1, 2, 3, 0, 3)[index % 8]]
                sample = make_sample(f"{name}{index}", target, source=name, generator=name if target else None)
                parts[part].append(GroupedSample(sample, f"{name}{index}", part))
                features[sample.sha256] = shift + rng.normal(size=WIDTH)
    return parts, KnownScorer({key: float(row.sum()) for key, row in features.items()}, features)


def head_of(parts: PartsOfSplit, scorer: KnownScorer) -> KnownScorer:
    """The scorer with the logits of a head on its train features, as a training would publish it."""
    from trainer.stats.probes import feature_head

    train = parts["train"]
    fitted = feature_head().fit(scorer.embeddings(train), [member.sample.target for member in train])
    logits = {key: float(fitted.decision_function(row[None])[0]) for key, row in scorer._embeddings.items()}
    return KnownScorer(logits, scorer._embeddings)


def refit_of(parts: PartsOfSplit, scorer: KnownScorer):
    from trainer.stats.probes import feature_head

    def refit(members: Sequence[GroupedSample]) -> tuple[Floats, float]:
        assert {member.part for member in members} == {"train"}
        fitted = feature_head().fit(scorer.embeddings(members), [member.sample.target for member in members])
        return fitted.coef_[0], float(fitted.intercept_[0])

    return refit


def measured(parts: PartsOfSplit, scorer: KnownScorer) -> tuple[LeftOutSources, dict[str, object], KnownScorer]:
    scorer = head_of(parts, scorer)
    left_out = leave_sources_out(scorer, parts, refit_of(parts, scorer), SETTINGS)
    points = calibrate(scorer, parts, SETTINGS, left_out).points
    return left_out, {"points": points, **unseen_figures(left_out, points)}, scorer


def test_a_signal_that_all_sources_share_survives_being_left_out() -> None:
    _, found, _ = measured(*world(["a", "b", "c"], ["x", "y"], signal=2.0, of_source=0.2))
    auc, alarms, caught = (found[name] for name in NAMES)
    assert auc.value > 0.95 and auc.worst > 0.9
    assert auc.low < auc.worst <= auc.value <= auc.high
    assert alarms.value <= 0.10 and caught.value > 0.5


def test_what_only_tells_sources_apart_is_seen_through() -> None:
    parts, scorer = world(["a", "b"], ["x", "y"], signal=0.0, of_source=2.5)
    _, found, published = measured(parts, scorer)
    test = parts["test"]
    seen = published.logits(test)[[m.sample.target == 1 for m in test]].mean() > published.logits(test).mean()
    assert seen  # on more of the same it looks as if it worked
    auc = found["unseen_auc"]
    assert auc.low < 0.5 < auc.high
    assert found["points"].threshold_ai > 0.9  # nothing that a left-out source may reach is called generated


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_hold_the_false_alarms_on_a_source_that_was_never_there(seed: int) -> None:
    names = ["a", "b", "c", "d"]
    parts, scorer = world([*names, "new"], ["x", "y", "z"], signal=1.0, of_source=0.8, seed=seed, each=80)
    known = {part: [m for m in members if m.sample.source != "new"] for part, members in parts.items()}
    new = [m for members in parts.values() for m in members if m.sample.source == "new"]
    left_out, found, published = measured(known, scorer)
    temperature = calibrate(published, known, SETTINGS, left_out).temperature
    observed = (expit(published.logits(new) / temperature) >= found["points"].threshold_ai).mean()
    assert observed <= 0.15
    alarms = found["unseen_false_alarms"]
    assert alarms.low <= observed <= alarms.high


def test_a_fold_is_asked_by_a_head_that_met_neither_it_nor_its_groups() -> None:
    parts, scorer = world(["a", "b"], ["x", "y"], signal=1.0, of_source=0.5)
    asked: list[set[str]] = []

    def refit(members: Sequence[GroupedSample]) -> tuple[Floats, float]:
        asked.append({member.sample.generator or member.sample.source for member in members})
        return np.ones(WIDTH), 0.0

    left_out = leave_sources_out(scorer, parts, refit, SETTINGS)
    assert sorted(map(len, asked)) == [2] * 4 + [3] * 4  # four pairs, four folds
    assert {fold.name for fold in left_out.folds} == {"a", "b", "x", "y"}
    for fold in left_out.folds:
        assert len(fold.own) == 60  # of every part: this head met none of them
    assert left_out.method == REFITTED


def test_a_finished_network_is_asked_about_pictures_that_it_was_not_trained_on_and_it_is_said() -> None:
    parts, scorer = world(["a", "b"], ["x", "y"], signal=1.0, of_source=0.5)
    left_out = leave_sources_out(scorer, parts, None, SETTINGS)
    assert left_out.method == PLAIN_HEAD
    assert all(member.part != "train" for fold in left_out.folds for member in fold.own.samples)


def test_many_sources_cost_a_bounded_number_of_heads() -> None:
    parts, scorer = world([f"r{n}" for n in range(9)], [f"g{n}" for n in range(9)], signal=1, of_source=0.5, each=16)
    fits = []

    def refit(members: Sequence[GroupedSample]) -> tuple[Floats, float]:
        fits.append(len(members))
        return np.ones(WIDTH), 0.0

    left_out = leave_sources_out(scorer, parts, refit, SETTINGS)
    assert len(left_out.pairs) == len(left_out.pair_names) == MOST_PAIRS
    assert len(fits) == MOST_PAIRS + 2 * SETTINGS.leave_one_out_slices


def test_with_one_source_it_is_not_known_and_it_says_what_to_collect() -> None:
    parts, scorer = world(["a"], ["x", "y"], signal=1.0, of_source=0.5)
    left_out, found, _ = measured(parts, scorer)
    entry = found["unseen_auc"].to_entry()
    assert (entry["value"], entry["low"], entry["high"], entry["worst"]) == (None,) * 4
    assert "not known" in entry["why"] and "real/<source>" in entry["why"]
    assert "not known" in found["unseen_false_alarms"].to_entry()["why"]
    assert found["unseen_found"].value is not None
    assert "is not known" in found["points"].note
    figures = {name: found[name] for name in NAMES}
    json.dumps(unseen_card(left_out, found["points"], figures), allow_nan=False)


def test_the_note_names_what_set_each_threshold() -> None:
    _, found, _ = measured(*world(["a", "b"], ["x", "y"], signal=0.5, of_source=1.0))
    note = found["points"].note
    assert "threshold_ai set by" in note and LEFT_OUT.strip() in note
    _, found, _ = measured(*world(["a", "b"], ["x", "y"], signal=6.0, of_source=0.1))
    assert "edge of the abstain band" in found["points"].note
