"""The shortlist of backbones says of each what timm says, and what a training will do with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm

from trainer.models.comparison import Comparison, Row, comparison_key, plan_in_words, read_comparison
from trainer.models.shortlist import COMMUNITY_FORENSICS, LARGE, OFFLINE, SMALL, Listed, listed_as, shortlist
from utils.config.training import Model

OF_TIMM = sorted({listed for listed in (*SMALL, *LARGE, *OFFLINE) if listed.repository.startswith("timm/")}, key=str)


@pytest.mark.parametrize("listed", OF_TIMM, ids=lambda listed: listed.name)
def test_what_the_list_says_of_a_model_of_timms_is_what_timm_says(listed: Listed) -> None:
    config = timm.get_pretrained_cfg(listed.name)
    assert config is not None
    assert (config.hf_hub_id, config.license) == (listed.repository, listed.licence)
    if listed.size:
        assert config.fixed_input_size
        assert listed.size % int(listed.name.partition("patch")[2][:2]) == 0


def test_every_listed_architecture_is_one_of_timms_and_is_found_by_its_name() -> None:
    for listed in (*SMALL, *LARGE, *OFFLINE):
        assert timm.is_model(listed.architecture)
        assert listed_as(listed.name) == listed
    assert listed_as("vit_small_patch16_384") is None  # no one package has it: timm's own weights are meant
    assert COMMUNITY_FORENSICS in shortlist(on_gpu=True)
    assert COMMUNITY_FORENSICS in shortlist(on_gpu=False)


def last(key: str) -> Comparison:
    rows = (Row("a", "mit", auc=0.8), Row("b", "mit", why="not on this machine", missing=True))
    return Comparison("a", "AUC 0.800", 90, 4, 90, key, False, "2026-03-01T12:00:00Z", rows)


def test_a_comparison_is_kept_for_the_settings_it_was_made_with(tmp_path: Path) -> None:
    key = comparison_key(Model(), on_gpu=False)
    last(key).write(tmp_path)
    assert read_comparison(tmp_path, key) == last(key)
    assert read_comparison(tmp_path, comparison_key(Model(), on_gpu=True)) is None
    assert read_comparison(tmp_path, comparison_key(Model(branch=False), on_gpu=False)) is None
    (tmp_path / "embeddings/backbones.json").write_text("{")
    assert read_comparison(tmp_path, key) is None


def test_it_is_made_again_once_pictures_or_sources_have_grown_by_half() -> None:
    made = last("key")
    assert not made.has_outgrown(91, 4)
    assert not made.has_outgrown(134, 5)
    assert made.has_outgrown(135, 4)
    assert made.has_outgrown(90, 6)
    assert not replace(made, pictures=1000).has_outgrown(1010, 4)


def test_the_plan_names_what_would_be_compared_what_was_and_what_leaves_no_choice(tmp_path: Path) -> None:
    pinned = plan_in_words(Model(architecture="test_vit"), tmp_path, None)
    assert pinned == ["backbone: model.architecture leaves no choice"]
    small, large = (plan_in_words(Model(), tmp_path, gpu_gb) for gpu_gb in (None, 80.0))
    assert any("dinov3-license" in line for line in small)
    assert not any("large" in line for line in small)
    assert any("large" in line for line in large)
    assert not any("large" in line for line in plan_in_words(Model(), tmp_path, 16.0))
    last(comparison_key(Model(), on_gpu=False)).write(tmp_path)
    assert plan_in_words(Model(), tmp_path, None) == [
        "backbone: a, chosen 2026-03-01 (AUC 0.800); compared again from 135 pictures or 6 sources and generators in "
        "the train split"
    ]
