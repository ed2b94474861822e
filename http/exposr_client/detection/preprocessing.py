"""From a picture to the array a model sees, by its card alone. Own code: the trainer's is not needed to serve.

Tests hold both to the same bits. Every decode is a full one: JPEG's scaled decoding would change the traces that the
detector looks for.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exposr_client.decoding.decode import Header, decode
from exposr_client.decoding.orientation import upright
from exposr_client.decoding.pixels import to_rgb
from exposr_client.detection.card import View
from exposr_client.errors import ImageError

Source: TypeAlias = str | Path | bytes | Image.Image

MAX_PIXELS = 50_000_000
EXIF_ORIENTATION = 274

log = logging.getLogger("exposr_client")


def open_image(source: Source, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The decoded picture. Raises ImageError for what is no picture, of another format, or larger than allowed."""
    if isinstance(source, Image.Image):
        return source
    name = "the picture" if isinstance(source, bytes) else str(source)

    def check(header: Header) -> None:
        if header.width * header.height > max_pixels:
            raise ImageError(f"{name}: {header.width}x{header.height} is larger than {max_pixels} pixels")

    try:
        picture = decode(source if isinstance(source, bytes) else Path(source).read_bytes(), check)
        if picture.note:
            log.info("picture=%s note=%s", name, picture.note)
        return picture.upright()
    except (OSError, ValueError, MemoryError) as error:  # PictureError is a ValueError
        raise ImageError(f"{name}: {error}" if str(error) else f"{name}: {type(error).__name__}") from error


def to_array(image: Image.Image, view: View) -> NDArray[np.float32]:
    """float32 [3, size, size] of a decoded picture."""
    rgb = to_rgb(upright(image), view.background)
    if min(rgb.size) > view.short_side_max:
        rgb = _resize(rgb, view.short_side_max / min(rgb.size))
    if min(rgb.size) < view.size:
        if max(rgb.size) * view.size / min(rgb.size) * view.size > MAX_PIXELS:
            raise ImageError(f"a picture of {image.width}x{image.height} is too narrow to be judged")
        rgb = _resize(rgb, view.size / min(rgb.size))
    left, top = (rgb.width - view.size) // 2, (rgb.height - view.size) // 2
    crop = rgb.crop((left, top, left + view.size, top + view.size))
    pixels = np.asarray(crop, dtype=np.uint8).astype(np.float32).transpose(2, 0, 1) / np.float32(255)
    mean, std = (np.array(values, dtype=np.float32).reshape(3, 1, 1) for values in (view.mean, view.std))
    return np.ascontiguousarray((pixels - mean) / std)


def _resize(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)
