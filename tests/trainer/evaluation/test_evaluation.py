"""Evaluation: parts, slices, what was left out, robustness; on few pictures and on one label too."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from judging import KnownScorer, make_members, make_sample, noisy_scorer, silent
from PIL import Image

from trainer.data.types import PARTS, GroupedSample, PartsOfSplit
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.evaluate import Evaluation, evaluate
from trainer.evaluation.leave_sources_out import leave_sources_out
from trainer.evaluation.robustness import CONDITIONS, WEB_SIDE
from trainer.split.sources import origin
from trainer.stats.novelty import Novelty
from trainer.stats.predictions import CachedScorer, choose
from utils.config.training import Evaluation as Settings

QUICK = Settings(bootstrap_samples=100)


def make_parts(count: int = 60) -> dict[str, list[GroupedSample]]:
    parts = {}
    for part in PARTS:
        parts[part] = [
            GroupedSample(
                make_sample(
                    f"{part}{index}",
                    index % 2,
                    source=("pexels", "unsplash")[index // 2 % 2] if index % 2 == 0 else "civitai",
                    generator=("flux", "sdxl", "sd3")[index % 3] if index % 2 else None,
                ),
                f"{part}{index}",
                part,
            )
            for index in range(count)
        ]
    return parts


def make_scorer(parts: PartsOfSplit, strength: float = 1.5) -> KnownScorer:
    members = [member for part in parts.values() for member in part]
    rng = np.random.default_rng(0)
    features = {m.sample.sha256: rng.normal(m.sample.target * 0.8, 1, 12) for m in members}
    return KnownScorer(noisy_scorer(members, strength, 0)._logits, features)


def evaluated(parts: PartsOfSplit, settings: Settings = QUICK) -> Evaluation:
    scorer = make_scorer(parts)
    left_out = leave_sources_out(scorer, parts, None, settings)
    return evaluate(scorer, parts, calibrate(scorer, parts, settings, left_out), settings, silent, left_out)


def test_every_part_slice_and_condition_has_n_and_interval() -> None:
    card = json.loads(json.dumps(evaluated(make_parts()).to_card(), allow_nan=False))
    for part in ("validation", "test"):
        assert card[part]["n"] == 60
        assert 0.8 < card[part]["auc"]["value"] < 1
        assert card[part]["auc"]["low"] < card[part]["auc"]["value"] < card[part]["auc"]["high"]
    assert set(card["per_generator"]) == {"flux", "sdxl", "sd3"}
    assert set(card["per_real_source"]) == {"pexels", "unsplash"}
    assert card["per_generator"]["flux"]["recall"]["n"] == 10
    assert card["per_real_source"]["pexels"]["specificity"]["n"] == 15
    assert set(card["robustness"]["conditions"]) == {condition.name for condition in CONDITIONS}
    assert card["robustness"]["conditions"]["jpeg_60"]["flip_rate"]["value"] == 0  # this scorer sees no pixels
    assert set(card["leave_one_generator_out"]["by_name"]) == {"flux", "sdxl", "sd3"}
    assert set(card["leave_one_real_source_out"]["by_name"]) == {"pexels", "unsplash"}
    assert card["core"] is None
    rates = card["test"]["verdicts"]
    assert sum(rates[key]["value"] for key in ("false_alarms", "real_recognised", "real_uncertain")) == pytest.approx(1)


def test_validation_says_what_serving_is_compared_with() -> None:
    parts = make_parts()
    scorer = make_scorer(parts)
    settings = Settings(bootstrap_samples=100, robustness=False, leave_one_out=False)
    train, targets = scorer.embeddings(parts["train"]), np.array([m.sample.target for m in parts["train"]])
    novelty = Novelty.of(train, targets)
    assert novelty is not None
    novelty = replace(novelty, cut=float(np.median(novelty(scorer.embeddings(parts["validation"])))))
    calibration = calibrate(scorer, parts, settings)
    card = evaluate(scorer, parts, calibration, settings, silent, novelty=novelty).to_card()["validation"]
    assert sum(card["scores"]) == sum(card["novelty"]) == card["n"] == 60
    assert (len(card["scores"]), len(card["novelty"])) == (20, 20)
    assert card["unfamiliar"]["value"] == 0.5
    assert card["unfamiliar"]["low"] < 0.5 < card["unfamiliar"]["high"]
    assert sum(card["novelty"][:10]) == 30  # half are within the cut
    without = evaluate(scorer, parts, calibration, settings, silent).to_card()["validation"]
    assert "unfamiliar" not in without


def test_a_test_part_of_one_label_or_none_gives_reasons_instead_of_numbers() -> None:
    parts = make_parts(20)
    parts["test"] = [member for member in parts["test"] if member.sample.target == 0]
    card = evaluated(parts).to_card()
    assert card["test"]["auc"]["why"] == "there are no ai_generated pictures"
    assert card["curves"]["roc"] is None
    parts["test"] = []
    parts["validation"] = []
    card = json.loads(json.dumps(evaluated(parts).to_card(), allow_nan=False))
    assert card["test"]["accuracy"]["why"] == "there are no pictures in this part"
    assert "robustness" not in card


def test_a_sweep_looks_at_no_more_pictures_than_allowed() -> None:
    parts = make_parts(60)
    settings = Settings(bootstrap_samples=100, robustness_images=10, leave_one_out=False)
    assert evaluated(parts, settings).to_card()["robustness"]["n"] == 10


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_conditions_change_pictures_the_same_way_every_time(condition) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((2 * WEB_SIDE, 800))
    first, again = (condition(image.copy(), np.random.default_rng(7)) for _ in range(2))
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert max(first.size) <= WEB_SIDE * 1.06  # a screenshot has margins
    assert condition.what in condition.cache_key


def test_conditions_get_upright_pictures() -> None:
    buffer = io.BytesIO()
    tags = Image.Exif()
    tags[274] = 6
    Image.new("RGB", (80, 40)).save(buffer, "JPEG", exif=tags)
    with Image.open(buffer) as turned:
        assert CONDITIONS[0](turned, np.random.default_rng(0)).size == (40, 80)


def test_each_picture_is_looked_at_once() -> None:
    members = make_members(10)
    scorer = noisy_scorer(members, 1, 0)
    cached = CachedScorer(scorer)
    assert cached.logits(members).tolist() == cached.logits(members).tolist()
    assert cached.logits(members[:3]).shape == (3,)
    assert scorer.asked == 10
    cached.logits(members, CONDITIONS[0])
    assert scorer.asked == 20


def test_the_chosen_samples_do_not_depend_on_order_and_hold_both_labels() -> None:
    members = make_members(100)
    chosen = choose(members, 30)
    assert chosen == choose(members[::-1], 30)
    assert sum(member.sample.target for member in chosen) == 15
    rare = [member for member in members if member.sample.target == 0] + members[1:4:2]
    assert sum(member.sample.target for member in choose(rare, 30)) == 2
    assert len(choose(rare, 30)) == 30


def test_slices_are_named_after_generator_or_source() -> None:
    assert origin(GroupedSample(make_sample("a", 1, generator="flux"), "g", "test")) == "flux"
    assert origin(GroupedSample(make_sample("a", 1, generator=None), "g", "test")) == "unknown (civitai)"
    assert origin(GroupedSample(make_sample("a", 0), "g", "test")) == "pexels"
