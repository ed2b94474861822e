"""Building a version from its folder, and the proof that it computes what its card promises. Needs torch and timm."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from exposr_client.detection.card import Card, Golden, read_card
from exposr_client.detection.network import build_network
from exposr_client.detection.novelty import Novelty, parse_novelty
from exposr_client.detection.preprocessing import EXIF_ORIENTATION, to_array
from exposr_client.downloads.cache import CARD_FILE
from exposr_client.errors import LoadError

TENSOR_TOLERANCE = 1e-3  # of values that lie within about -3..3
LOGIT_TOLERANCE = 1e-3  # relative, at least absolute; another CPU sums in another order
ACCELERATOR_LOGIT_TOLERANCE = 2e-2
GOLDEN_FORMULA = (
    "channel c of pixel (x, y) is (x * (3 + 2c) + y * (5 + c) + (x * y) // (7 + c)) % 256 for c = 0, 1, 2;"
    " alpha, in mode RGBA, is (x + 2y) % 256; orientation is set as EXIF tag 274 of the picture in memory"
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checked version, ready to predict; never changes."""

    card: Card
    network: torch.nn.Module
    device: torch.device
    novelty: Novelty | None = None

    def answers(self, arrays: Sequence[NDArray[np.float32]]) -> list[tuple[float, float | None]]:
        """Of each array the raw logit, and the novelty of its features where the version has one; all in one batch."""
        batch = torch.from_numpy(np.stack(arrays)).to(self.device)
        with torch.inference_mode():
            if self.novelty is None:
                return [(logit, None) for logit in _column(self.network(batch))]
            features = self.network.forward_head(self.network.forward_features(batch), pre_logits=True)  # type: ignore[operator]
            logits = _column(self.network.get_classifier()(features))  # type: ignore[operator]
        return list(zip(logits, self.novelty.of(features.double().cpu().numpy()), strict=True))

    def relative_novelty(self, novelty: float | None) -> float | None:
        """In cuts of this version; None where it has none."""
        return None if self.novelty is None or novelty is None else self.novelty.relative(novelty)

    def is_unfamiliar(self, novelty: float | None) -> bool:
        return self.novelty is not None and novelty is not None and self.novelty.is_unfamiliar(novelty)


def load_version(weights: Path, device: str) -> LoadedModel:
    """Build the version whose weights and card lie side by side. Raises LoadError; nothing else changes."""
    card = read_card(weights.with_name(CARD_FILE))
    state = _read_state(weights, card.weights_sha256)
    if not timm.is_model(card.architecture):
        raise LoadError(f"timm {timm.__version__} does not know {card.architecture!r}; install a newer timm")
    try:
        network = build_network(card.architecture, card.arguments, card.branch, card.view.mean, card.view.std)
        network.load_state_dict(state, strict=True)
        novelty = parse_novelty(card.novelty) if card.novelty else None
        model = LoadedModel(card, network.eval().requires_grad_(False).to(device), torch.device(device), novelty)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        raise LoadError(f"{weights}: {card.architecture} cannot be built from its card: {error}") from error
    _check_golden(model)
    return model


def _column(logits: torch.Tensor) -> list[float]:
    found: list[float] = logits.flatten().double().tolist()
    return found


def golden_image(golden: Golden) -> Image.Image:
    """The picture that GOLDEN_FORMULA describes."""
    x = np.arange(golden.width, dtype=np.int64)[None, :]
    y = np.arange(golden.height, dtype=np.int64)[:, None]
    channels = [(x * (3 + 2 * c) + y * (5 + c) + (x * y) // (7 + c)) % 256 for c in range(3)]
    if golden.mode == "RGBA":
        channels.append((x + 2 * y) % 256)
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    image.getexif()[EXIF_ORIENTATION] = golden.orientation
    return image


def _read_state(weights: Path, sha256: str) -> dict[str, torch.Tensor]:
    """The state dict of exactly the bytes that the card names: read once, so they cannot change in between."""
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise LoadError(f"{weights} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise LoadError(f"{weights}: sha256 is {found}, the card says {sha256}")
    try:
        state: dict[str, torch.Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, runtime and other errors here
        raise LoadError(f"{weights}: is no state dict: {error}") from error
    return state


def _check_golden(model: LoadedModel) -> None:
    tolerance = LOGIT_TOLERANCE if model.device.type == "cpu" else ACCELERATOR_LOGIT_TOLERANCE
    for golden in model.card.golden:
        if golden.formula != GOLDEN_FORMULA or golden.mode not in ("RGB", "RGBA"):
            raise LoadError(f"golden {golden.name}: unknown formula; install a newer exposr-client")
        array = to_array(golden_image(golden), model.card.view)
        worst = max(abs(float(array.flat[index]) - value) for index, value in golden.tensor_values.items())
        if not worst <= TENSOR_TOLERANCE:
            raise LoadError(f"golden {golden.name}: preprocessing differs from the trainer's by {worst:.3g}")
        ((logit, novelty),) = model.answers([array])
        if not abs(logit - golden.logit) <= tolerance * max(1.0, abs(golden.logit)):
            raise LoadError(f"golden {golden.name}: logit is {logit:.6f}, the trainer got {golden.logit:.6f}")
        if novelty is not None and golden.novelty is not None:
            allowed = tolerance * max(1.0, abs(golden.novelty))
            if not abs(novelty - golden.novelty) <= allowed:
                raise LoadError(f"golden {golden.name}: novelty is {novelty:.6f}, the trainer got {golden.novelty:.6f}")
