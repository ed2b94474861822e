"""Climbing from a head to a fine-tuning takes along which views did best for the head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contexts import make_context
from judging import make_members

from trainer.data.augmentation import Augmentation
from trainer.fitting import fit
from trainer.fitting.linear_head import Head
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
