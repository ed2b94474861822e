"""Golden vectors: small synthetic pictures, the tensors of the serving view and the logits, recorded with a version.

Whoever loads a version (the publisher's check, Exposr-Core's client) makes the same pictures and must get the same
numbers, so that neither another library nor another reading of the card changes verdicts unnoticed.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainer.data.preprocessing import Preprocessing
from trainer.models.backbones import features_of
from trainer.stats.novelty import Novelty

PROBED_VALUES = 16  # tensor values written out, evenly spaced over the flattened tensor
FORMULA = (
    "channel c of pixel (x, y) is (x * (3 + 2c) + y * (5 + c) + (x * y) // (7 + c)) % 256 for c = 0, 1, 2;"
    " alpha, in mode RGBA, is (x + 2y) % 256; orientation is set as EXIF tag 274 of the picture in memory"
)
CASES: tuple[dict[str, Any], ...] = (
    {"width": 256, "height": 256, "mode": "RGB", "orientation": 1},
    {"width": 1201, "height": 803, "mode": "RGB", "orientation": 1},
    {"width": 97, "height": 131, "mode": "RGB", "orientation": 6},
    {"width": 420, "height": 300, "mode": "RGBA", "orientation": 1},
)


def golden_image(case: dict[str, Any]) -> Image.Image:
    """The picture that `case` describes (see FORMULA)."""
    x = np.arange(case["width"], dtype=np.int64)[None, :]
    y = np.arange(case["height"], dtype=np.int64)[:, None]
    channels = [(x * (3 + 2 * c) + y * (5 + c) + (x * y) // (7 + c)) % 256 for c in range(3)]
    if case["mode"] == "RGBA":
        channels.append((x + 2 * y) % 256)
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    image.getexif()[274] = case["orientation"]
    return image


@torch.inference_mode()
def record_golden(
    preprocessing: Preprocessing, model: nn.Module, novelty: Novelty | None = None
) -> list[dict[str, Any]]:
    """The card's `preprocessing.golden`: per case the input, the tensor's sha256 and values, and the logit (CPU)."""
    records = []
    for case in CASES:
        tensor = preprocessing.to_tensor(golden_image(case))
        logit = float(model(tensor.unsqueeze(0)).flatten()[0])
        flat = tensor.flatten()
        probed = [round(i * (flat.numel() - 1) / (PROBED_VALUES - 1)) for i in range(PROBED_VALUES)]
        records.append(
            {
                "input": {"formula": FORMULA, **case},
                "tensor_shape": list(tensor.shape),
                "tensor_sha256": hashlib.sha256(tensor.numpy().astype("<f4").tobytes()).hexdigest(),
                "tensor_values": {str(index): float(flat[index]) for index in probed},
                "logit": logit,
                **({"novelty": _novelty_of(novelty, model, tensor)} if novelty else {}),
            }
        )
    return records


def _novelty_of(novelty: Novelty, model: nn.Module, tensor: torch.Tensor) -> float:
    return float(novelty(features_of(model, tensor.unsqueeze(0)).double().numpy())[0])


def golden_differences(
    records: list[dict[str, Any]],
    preprocessing: Preprocessing,
    model: nn.Module,
    novelty: Novelty | None = None,
    tolerance: float = 1e-3,
) -> list[str]:
    """What differs from the recorded vectors by more than `tolerance`, in words; empty when all agree."""
    problems = []
    for old, new in zip(records, record_golden(preprocessing, model, novelty), strict=True):
        name = f"golden {old['input']['width']}x{old['input']['height']} {old['input']['mode']}"
        worst = max(abs(value - new["tensor_values"][index]) for index, value in old["tensor_values"].items())
        if worst > tolerance:
            problems.append(f"{name}: the tensor differs by {worst:.2g}")
        if abs(old["logit"] - new["logit"]) > tolerance * max(1.0, abs(old["logit"])):
            problems.append(f"{name}: logit {new['logit']:.6f}, recorded {old['logit']:.6f}")
        if "novelty" in old and abs(old["novelty"] - new.get("novelty", np.inf)) > tolerance * max(1.0, old["novelty"]):
            problems.append(f"{name}: novelty {new.get('novelty')}, recorded {old['novelty']:.6f}")
    return problems
