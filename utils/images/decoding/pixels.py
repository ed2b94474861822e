"""From a decoder's mode to the pixels that are looked at: 8-bit RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

WHITE = (255, 255, 255)


def to_rgb(image: Image.Image, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """8-bit RGB; 16-bit grey is divided by 257, and transparent parts show `background`."""
    if image.mode.startswith("I"):  # convert() would clip it to white
        values = np.asarray(image)
        if values.dtype.itemsize > 2:
            values = values.clip(0, 65_535)
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (*background, 255)), rgba).convert("RGB")
    return image.convert("RGB")
