"""`train --dry-run`: what would happen, also before anything ever ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from daemon.cli.inspection import explain_plan
from utils.config.sections import Storage
from utils.config.training import Training
from utils.config_loader import Config


def test_a_fresh_installation_is_told_what_a_training_would_do_and_gets_no_state(tmp_path: Path) -> None:
    data, state = tmp_path / "datasets", tmp_path / "state"
    for number, label in enumerate(("real", "real", "ai_generated")):
        (data / label).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / label / f"{number}.png")
    config = Config(
        storage=Storage(local_path=data, models_path=tmp_path / "models", state_path=state),
        training=Training(devices=0),
    )
    said = explain_plan(config)
    assert said.startswith("2 real and 1 ai_generated usable images: it would not start")
    assert "vit_small_patch16_dinov3.lvd1689m (dinov3-license)" in said
    assert not state.exists()
