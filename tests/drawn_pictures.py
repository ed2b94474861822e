"""Real picture files for the tests, each with bytes and content of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw(seed: int, side: int = 160) -> Image.Image:
    """A picture of smooth random shapes, unlike any other seed's."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = picture + rng.integers(-12, 13, picture.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def write_pictures(folder: Path, number: int, *, first_seed: int = 0, suffix: str = ".jpg") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"picture-{first_seed + index:04d}{suffix}" for index in range(number)]
    for index, file in enumerate(files):
        draw(first_seed + index).save(file)
    return files
