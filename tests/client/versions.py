"""Real, small versions for the tests: timm's tiny test ViT with a card made by the trainer's own code."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

from trainer.data.preprocessing import Preprocessing
from trainer.models.backbones import features_of
from trainer.models.golden import record_golden
from trainer.stats.novelty import Novelty

ARGUMENTS = {"num_classes": 1}
PREPROCESSING = Preprocessing(160, 320, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def novelty_of(network: torch.nn.Module, pictures: int = 24) -> Novelty:
    """Fitted on noise of two brightnesses, which is then all that is familiar."""
    pixels = np.random.default_rng(0).integers(0, 60, (pictures, 160, 160, 3), dtype=np.uint8)
    pixels[1::2] += 120
    with torch.inference_mode():
        batch = torch.stack([PREPROCESSING.to_tensor(Image.fromarray(image)) for image in pixels])
        features = features_of(network, batch).double().numpy()
    novelty = Novelty.of(features, np.arange(pictures) % 2)
    assert novelty is not None
    return replace(novelty, cut=2 * float(novelty(features).max()))


def make_files(
    version: str, *, bias: float = 0.0, seed: int = 0, model: str = "vit", with_novelty: bool = False
) -> dict[str, bytes]:
    """weights.pt and model.json of a version; `bias` shifts its logit, so that versions can be told apart."""
    torch.manual_seed(seed)
    network = timm.create_model("test_vit", pretrained=False, **ARGUMENTS).eval()
    with torch.no_grad():
        network.head.bias += bias
    novelty = novelty_of(network) if with_novelty else None
    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    weights = stream.getvalue()
    card: dict[str, Any] = {
        "gate": {"published_as": f"{model}/{version}"},
        "architecture": {"library": "timm", "name": "test_vit", "kwargs": ARGUMENTS},
        "preprocessing": PREPROCESSING.as_card() | {"golden": record_golden(PREPROCESSING, network, novelty)},
        "novelty": novelty.to_card() if novelty else None,
        "calibration": {"temperature": 1.5},
        "operating_points": {"threshold_ai": 0.7, "threshold_real": 0.3},
        "files": {"weights.pt": {"sha256": hashlib.sha256(weights).hexdigest(), "size_bytes": len(weights)}},
    }
    return {"weights.pt": weights, "model.json": json.dumps(card).encode()}


def write_version(folder: Path, files: dict[str, bytes]) -> Path:
    """The path of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / "weights.pt"


def changed_card(files: dict[str, bytes], *path: str | int, value: object) -> dict[str, bytes]:
    """The same files with one entry of the card replaced."""
    card = json.loads(files["model.json"])
    section = card
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return files | {"model.json": json.dumps(card).encode()}
