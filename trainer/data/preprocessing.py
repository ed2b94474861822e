"""The serving view: the one way from a decoded picture to the tensor a model sees, in training, evaluation and service.

`as_card` describes it completely; Exposr-Core's client implements the same from the card alone, and golden vectors
(`trainer/models/golden.py`) pin it. Every decode is a full one: JPEG's scaled decoding would change the traces that
are looked for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from utils.images.decoding.decode import decode
from utils.images.decoding.orientation import upright
from utils.images.decoding.pixels import to_rgb
from utils.logs import get_logger

log = get_logger(__name__)

STEPS = (
    "exif_transpose: turn the picture as its EXIF orientation says",
    "to_rgb: 16-bit grey is divided by 257; transparency is laid over the background; then 8-bit RGB",
    "shrink: when the short side is above short_side_max, bicubic resize of both sides by short_side_max / short side",
    "enlarge: when the short side is below size, bicubic resize of both sides by size / short side",
    "center_crop: size x size, left = (width - size) // 2, top = (height - size) // 2",
    "scale: float32 in 0..1 (value / 255), channels first",
    "normalize: (x - mean) / std per channel",
)
RESAMPLE = Image.Resampling.BICUBIC


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Sizes in pixels; `mean` and `std` for values in 0..1."""

    size: int
    short_side_max: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    background: tuple[int, int, int] = (255, 255, 255)

    def as_card(self) -> dict[str, Any]:
        """The card's section `preprocessing`, without the golden vectors."""
        return {
            "steps": list(STEPS),
            "size": self.size,
            "short_side_max": self.short_side_max,
            "resample": "bicubic",
            "background": list(self.background),
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": "RGB",
        }

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> Preprocessing:
        """Raises ValueError when the card describes another view than this code makes."""
        if tuple(card["steps"]) != STEPS or card["resample"] != "bicubic" or card["channels"] != "RGB":
            raise ValueError("the card describes a preprocessing that this version of the trainer does not know")
        return cls(
            size=int(card["size"]),
            short_side_max=int(card["short_side_max"]),
            mean=_three(card["mean"]),
            std=_three(card["std"]),
            background=tuple(int(value) for value in card["background"]),  # type: ignore[arg-type]
        )

    def key(self) -> str:
        """Changes when the view changes: part of the embedding cache's key."""
        return hashlib.sha256(json.dumps(self.as_card(), sort_keys=True).encode()).hexdigest()

    def upright(self, image: Image.Image) -> Image.Image:
        """The picture turned, in RGB, at its own size."""
        return to_rgb(upright(image), self.background)

    def resized(self, image: Image.Image) -> Image.Image:
        """The upright picture with a short side of at most `short_side_max`."""
        rgb = self.upright(image)
        short = min(rgb.size)
        return _resized(rgb, self.short_side_max / short) if short > self.short_side_max else rgb

    def center_crop(self, rgb: Image.Image) -> Image.Image:
        """The centre of a resized picture, enlarged first where it is too small."""
        if min(rgb.size) < self.size:
            rgb = _resized(rgb, self.size / min(rgb.size))
        left, top = (rgb.width - self.size) // 2, (rgb.height - self.size) // 2
        return rgb.crop((left, top, left + self.size, top + self.size))

    def view(self, image: Image.Image) -> Image.Image:
        """The RGB picture of `size` x `size` that the model sees."""
        return self.center_crop(self.resized(image))

    def normalized(self, view: Image.Image) -> Tensor:
        """float32 [3, H, W] of an RGB picture of any size."""
        pixels = torch.from_numpy(np.array(view, dtype=np.uint8)).permute(2, 0, 1).to(torch.float32) / 255
        return (pixels - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)

    def to_tensor(self, image: Image.Image) -> Tensor:
        """float32 [3, size, size] of a decoded picture: what is served."""
        return self.normalized(self.view(image))


def open_image(path: Path) -> Image.Image:
    """`decoded` of a file's bytes."""
    return decoded(path.read_bytes(), str(path))


def decoded(data: bytes, name: str) -> Image.Image:
    """The upright picture, decoded as `utils/images/decoding` says. Raises OSError, PictureError (a ValueError)."""
    picture = decode(data)
    if picture.note:
        log.debug("side_data_left_out", path=name, reason=picture.note)
    return picture.upright()


def _resized(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), RESAMPLE)


def _three(values: list[float]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
