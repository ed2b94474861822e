"""A small picture of a picture, for people to look at. Runs in checker processes only, as `check.py` does."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from utils.errors import SkipItemError
from utils.images.check import read_regular_file, refuse_size
from utils.images.facts import CheckLimits, Thumbnail
from utils.images.format import HEAD_BYTES, sniff_format

QUALITY = 80
EFFORT = 3  # of 6; more saves 2 % at twice the time


def draw_thumbnail(path: str | Path, wanted: Thumbnail, limits: CheckLimits) -> bytes:
    """WebP, upright, on white where it is transparent, without any metadata.

    Raises SkipItemError when the file does not hold the wanted bytes or cannot be decoded, RetryLaterError as
    `check_image` does.
    """
    data = read_regular_file(path, limits.max_file_bytes)
    if hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise SkipItemError("has other bytes than the picture that was asked for")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=[sniff_format(data[:HEAD_BYTES]).upper()]) as image:
                refuse_size(*image.size, limits)
                image.draft("RGB", (2 * wanted.side, 2 * wanted.side))
                small = _upright(image)
        except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
            raise SkipItemError(f"cannot be drawn: {error}") from error
    small.thumbnail((wanted.side, wanted.side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    body = io.BytesIO()
    small.save(body, "WEBP", quality=QUALITY, method=EFFORT)
    return body.getvalue()


def _upright(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = image.point(lambda level: level / 256).convert("L")
    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
        rgba = turned.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return turned.convert("RGB")
