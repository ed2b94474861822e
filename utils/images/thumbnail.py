"""A small picture of a picture, for people to look at. Runs in checker processes only, as `check.py` does."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

from PIL import Image

from utils.errors import SkipItemError
from utils.images.check import decode_checked, read_regular_file, reduce_upright
from utils.images.facts import CheckLimits, Thumbnail

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
        small = reduce_upright(decode_checked(data, path, limits, 2 * wanted.side), wanted.side)
    small.thumbnail((wanted.side, wanted.side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    body = io.BytesIO()
    small.save(body, "WEBP", quality=QUALITY, method=EFFORT)
    return body.getvalue()
