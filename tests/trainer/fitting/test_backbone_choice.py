"""The backbone is the one that does best on left-out sources, and is asked again only when the data have grown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from contexts import make_context
from huggingface_hub import constants
from pictures import encoded, stored
from PIL import Image
from safetensors.torch import save_file

from trainer.context import RunContext
from trainer.data.types import GroupedSample
from trainer.fitting.backbone_choice import _decide, choose_backbone, present_backbone
from trainer.models import shortlist
from trainer.models.comparison import Comparison, Row
from trainer.models.shortlist import Listed
from utils.config.training import Model, Training

SEEING = Listed("test_vit.r160_in1k", "apache-2.0", "stand-in/seeing")
BLIND = Listed("test_vit2.r160_in1k", "mit", "stand-in/blind")
ABSENT = Listed("test_vit3.r160_in1k", "mit", "stand-in/absent")
EACH = 8


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that does not answer, with the weights of two networks in its local cache; one sees no colour."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for listed in (SEEING, BLIND):
        torch.manual_seed(0)
        state = timm.create_model(listed.architecture, pretrained=False).state_dict()
        if listed is BLIND:
            kernel = state["patch_embed.proj.weight"]
            state["patch_embed.proj.weight"] = kernel.mean(dim=1, keepdim=True).expand_as(kernel).contiguous()
        repository = tmp_path / "hub" / f"models--{listed.repository.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs/main").write_text("a" * 40)
        (repository / f"snapshots/{'a' * 40}").mkdir(parents=True)
        save_file(state, repository / f"snapshots/{'a' * 40}" / "model.safetensors")


Start = Callable[..., tuple[RunContext, list[GroupedSample]]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """A training on pictures whose label is their colour, with `listed` to choose from, the default first."""

    def begin(
        *listed: Listed, each: int = EACH, sources: int = 2, **model: object
    ) -> tuple[RunContext, list[GroupedSample]]:
        monkeypatch.setattr(shortlist, "SMALL", listed)
        monkeypatch.setattr(shortlist, "OFFLINE", ())
        monkeypatch.setattr("trainer.models.backbones.DEFAULT_ON_CPU", listed[0])
        monkeypatch.setattr("trainer.models.backbones.OFFLINE", ())
        settings = Model.model_validate({"image_size": 64, "branch": False, **model})
        context = make_context(tmp_path, settings, Training(epochs=2, devices=0))
        train = [
            member_of(tmp_path / "data", target, source, number)
            for target in (0, 1)
            for source in range(sources)
            for number in range(each)
        ]
        return context, train

    return begin


def member_of(data: Path, target: int, source: int, number: int) -> GroupedSample:
    pixels = np.random.default_rng([target, source, number]).normal(120, 12, (64, 64, 3))
    pixels[..., 2 * target] += 80
    picture = encoded(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "PNG")
    facts = {"generator": f"g{source}"} if target else {"source": f"s{source}"}
    name = f"{target}-{source}-{number}"
    sample = stored(data, f"{name}.png", picture, "ai_generated" if target else "real", **facts)
    return GroupedSample(sample, name, "train")


def compared(context: RunContext, train: list[GroupedSample]) -> tuple[str, Comparison]:
    backbone, comparison = choose_backbone(context, train, present_backbone(context), None)
    assert isinstance(comparison, Comparison), comparison
    return backbone.name, comparison


def test_the_one_that_sees_a_difference_in_left_out_sources_is_taken(start: Start) -> None:
    context, train = start(BLIND, ABSENT, SEEING)
    name, comparison = compared(context, train)
    assert name == comparison.chosen == SEEING.name
    blind, absent, seeing = comparison.rows
    assert seeing.auc is not None
    assert seeing.auc > 0.9
    assert blind.auc is not None
    assert blind.auc < 0.8
    assert (absent.auc, absent.missing) == (None, True)
    assert "the hub does not answer" in absent.why
    assert seeing.weights == "hub stand-in/seeing"
    assert (seeing.licence, seeing.input_size, seeing.embedded) == ("apache-2.0", 64, 4 * EACH)
    assert seeing.parameters > 100_000
    assert present_backbone(context).name == SEEING.name  # from the next training's beginning


def test_the_present_one_stays_where_no_other_is_better(start: Start) -> None:
    context, train = start(SEEING, BLIND)
    assert compared(context, train)[0] == SEEING.name


def test_the_choice_is_kept_until_the_data_have_grown_or_more_can_be_had(start: Start, tmp_path: Path) -> None:
    context, train = start(BLIND, ABSENT, SEEING)
    _, first = compared(context, train)
    _, again = compared(context, train[:-1])
    assert again == first
    context, train = start(BLIND, ABSENT, SEEING, each=EACH + EACH // 2)
    _, grown = compared(context, train)
    assert grown.pictures == len(train) > first.pictures
    seeing = grown.rows[0]
    assert (seeing.name, seeing.embedded) == (SEEING.name, len(train) - first.pictures)  # the others are known
    cached = tmp_path / "hub"
    (cached / "models--stand-in--seeing").rename(cached / "models--stand-in--absent")
    cached.joinpath("models--stand-in--seeing").symlink_to(cached / "models--stand-in--absent")
    _, more = compared(context, train)
    assert more != grown
    assert next(row for row in more.rows if row.name == ABSENT.name).missing is False


def test_on_few_pictures_a_small_lead_changes_nothing() -> None:
    rows = [Row("present", "mit", auc=0.75), Row("other", "mit", auc=0.82)]
    assert _decide(rows, "present", 10, 10)[0] == "present"
    assert _decide(rows, "present", 1000, 1000)[0] == "other"
    assert _decide([rows[0], Row("other", "mit", auc=0.76)], "present", 10**6, 10**6)[0] == "present"


@pytest.mark.parametrize(
    ("model", "sources", "words"),
    [
        ({"architecture": SEEING.name}, 2, "model.architecture leaves no choice"),
        ({}, 1, "two real sources and two generators are needed"),
    ],
)
def test_nothing_is_compared_where_there_is_no_choice_or_nothing_to_leave_out(
    start: Start, model: dict[str, object], sources: int, words: str
) -> None:
    context, train = start(SEEING, BLIND, sources=sources, **model)
    backbone, why = choose_backbone(context, train, present_backbone(context), None)
    assert backbone.name == SEEING.name
    assert why == words or (isinstance(why, str) and why.startswith(words))


def test_a_choice_whose_weights_are_gone_gives_way_to_the_default(start: Start, tmp_path: Path) -> None:
    context, train = start(BLIND, SEEING)
    assert compared(context, train)[0] == SEEING.name
    (tmp_path / "hub/models--stand-in--seeing").rename(tmp_path / "elsewhere")
    assert present_backbone(context).name == BLIND.name
