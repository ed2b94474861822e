"""Real, small versions for the tests: timm's tiny test ViT with a card made by the trainer's own code."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import timm
import torch

from trainer.data.preprocessing import Preprocessing
from trainer.models.golden import record_golden

ARGUMENTS = {"num_classes": 1}
PREPROCESSING = Preprocessing(160, 320, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def make_files(version: str, *, bias: float = 0.0, seed: int = 0, model: str = "vit") -> dict[str, bytes]:
    """weights.pt and model.json of a version; `bias` shifts its logit, so that versions can be told apart."""
    torch.manual_seed(seed)
    network = timm.create_model("test_vit", pretrained=False, **ARGUMENTS).eval()
    with torch.no_grad():
        network.head.bias += bias
    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    weights = stream.getvalue()
    card: dict[str, Any] = {
        "gate": {"published_as": f"{model}/{version}"},
        "architecture": {"library": "timm", "name": "test_vit", "kwargs": ARGUMENTS},
        "preprocessing": PREPROCESSING.as_card() | {"golden": record_golden(PREPROCESSING, network)},
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
