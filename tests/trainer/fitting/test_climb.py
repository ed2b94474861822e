"""From a head to a fine-tuning: which views did best for the head is taken along, and the better of the two stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import make_context
from judging import make_members

from trainer.data.augmentation import Augmentation
from trainer.fitting import fit
from trainer.fitting.linear_head import Head
from trainer.fitting.strategy import Strategy
from trainer.models.backbones import load_backbone
from utils.config.training import Model, Training

MODEL = Model(architecture="test_vit", image_size=64, pretrained=False, branch=False)


@pytest.mark.parametrize("gentle", [True, False])
def test_the_fine_tuning_augments_as_did_best_for_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gentle: bool
) -> None:
    context = make_context(tmp_path, MODEL, Training(devices=0))
    backbone = replace(load_backbone(MODEL, on_gpu=False, seed=0), pretrained={"source": "file a.pth"})
    head = Head(np.zeros(64), 0.0, 0.6, by_sources=False, is_gentle=gentle, choice="as it was", history=[])
    given: dict[str, Any] = {}

    class Fitter:
        refit = None

        def choose(self, report: object) -> Head:
            return head

    def fine_tune(*arguments: Any, **options: Any) -> list[dict[str, float]]:
        given.update(options)
        return [{"loss": 0.1}]

    monkeypatch.setattr(fit, "_head_fitter", lambda *arguments: Fitter())
    monkeypatch.setattr(fit, "fine_tune", fine_tune)
    parts: Any = {"train": make_members(100, "train"), "validation": [], "calibration": [], "test": []}
    augmentation = Augmentation(Training().augmentation, backbone.preprocessing)
    candidate = fit.train_candidate(context, parts, backbone, augmentation)
    assert candidate.mode == "lora"
    assert given == {"gentle": gentle}
    assert candidate.notes[-1].startswith("gentle" if gentle else "full")


@pytest.mark.parametrize(("tuned_auc", "mode"), [(0.7, "frozen"), (0.8, "frozen"), (0.9, "lora")])
def test_a_fine_tuned_network_that_is_not_better_on_the_validation_split_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuned_auc: float, mode: str
) -> None:
    context = make_context(tmp_path, MODEL, Training(devices=0))
    backbone = replace(load_backbone(MODEL, on_gpu=False, seed=0), pretrained={"source": "file a.pth"})
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    width = before["head.weight"].shape[1]
    head = Head(np.ones(width), 0.5, 0.6, by_sources=False, is_gentle=False, choice="as it was", history=[])
    start = fit._FrozenStart(Strategy("frozen", 6, "begin with a head"), head, None)

    def fine_tune(*arguments: Any, **options: Any) -> list[dict[str, float]]:
        with torch.no_grad():
            for parameter in backbone.model.parameters():
                parameter.zero_()
        return [{"loss": 0.1, "val_auc": tuned_auc}]

    monkeypatch.setattr(fit, "_fit_head", lambda *arguments: start)
    monkeypatch.setattr(fit, "_validation_auc", lambda *arguments: 0.8)
    monkeypatch.setattr(fit, "fine_tune", fine_tune)
    parts: Any = {"train": make_members(100, "train"), "validation": [], "calibration": [], "test": []}
    augmentation = Augmentation(Training().augmentation, backbone.preprocessing)
    candidate = fit.train_candidate(context, parts, backbone, augmentation)
    assert candidate.mode == mode
    after = candidate.model.state_dict()
    if mode == "frozen":
        assert torch.equal(after["head.weight"], torch.ones(1, width))
        assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("head."))
        assert "0.800 of the head" in candidate.notes[-1]
    else:
        assert not after["head.weight"].any()
