"""What tells the same picture in another encoding or size: a perceptual hash and a thumb.

The hash is pHash as the ImageHash package computes it (32 x 32 grey levels, the 8 x 8 lowest frequencies of their DCT
against the median), at an eighth of the time and without SciPy's memory; a test holds the two equal. Rows are always
reduced before columns: Pillow changes the order with the picture's shape and its own version, and two bits with it.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from utils.images.facts import THUMB_SIDE

GREY_SIDE = 32
LOW_FREQUENCIES = 8
MIN_DETAIL = 2.5  # standard deviation of grey levels (0..255) below which a perceptual hash is noise
LANCZOS_LOBES = 3
MATRIX_SIDE = 512  # of pictures up to here the matrices are kept, some 10 MB in the end
ONE_THREAD = 1 << 18  # multiplications in a product, up to which OpenBLAS uses one thread

# rows of the DCT-II matrix, 8 x 32: frequencies by positions
_DCT = np.array(
    [
        [2 * math.cos(math.pi * frequency * (2 * place + 1) / (2 * GREY_SIDE)) for place in range(GREY_SIDE)]
        for frequency in range(LOW_FREQUENCIES)
    ]
)


def perceptual_hash(picture: Image.Image) -> str | None:
    """64 bits as 16 hex digits; None where there is too little detail for a hash to mean anything."""
    levels = _grey_levels(picture.convert("L"))
    if levels.std() < MIN_DETAIL:
        return None
    low = (_DCT @ levels @ _DCT.T).ravel()
    ordered = np.sort(low)
    median = (ordered[31] + ordered[32]) / 2
    return np.packbits(low > median).tobytes().hex()


def thumb(picture: Image.Image) -> str:
    """THUMB_SIDE x THUMB_SIDE RGB pixels, row by row, as hex."""
    return picture.resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX).tobytes().hex()


def _grey_levels(grey: Image.Image) -> NDArray[np.float64]:
    """GREY_SIDE x GREY_SIDE levels, 0 to 255, as Pillow's Lanczos filter gives them: rounded after either direction."""
    width, height = grey.size
    if max(width, height) > MATRIX_SIDE:
        return np.asarray(grey.resize((GREY_SIDE, GREY_SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    across = _product(np.asarray(grey).astype(np.float32), _lanczos(width).T)
    return _rounded(_product(_lanczos(height), _rounded(across))).astype(np.float64)


def _product(rows: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """`rows @ matrix`, in pieces for which OpenBLAS starts no threads: they would cost far more than they bring."""
    result = np.empty((len(rows), matrix.shape[1]), np.float32)
    step = max(1, ONE_THREAD // matrix.size)
    for start in range(0, len(rows), step):
        np.matmul(rows[start : start + step], matrix, out=result[start : start + step])
    return result


def _rounded(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    rounded: NDArray[np.float32] = np.floor(levels + np.float32(0.5)).clip(0, 255)
    return rounded


@functools.lru_cache(maxsize=MATRIX_SIDE)
def _lanczos(length: int) -> NDArray[np.float32]:
    """[GREY_SIDE, length]: what each of `length` pixels adds to each of GREY_SIDE."""
    scale = length / GREY_SIDE
    stretch = max(scale, 1.0)
    centres = (np.arange(GREY_SIDE)[:, None] + 0.5) * scale
    support = LANCZOS_LOBES * stretch
    # Pillow cuts at whole pixels
    first, end = (np.trunc(centres + sign * support + 0.5).clip(0, length) for sign in (-1, 1))
    pixels = np.arange(length)
    distances = (pixels - centres + 0.5) / stretch
    weights = np.sinc(distances) * np.sinc(distances / LANCZOS_LOBES)
    weights[(np.abs(distances) >= LANCZOS_LOBES) | (pixels < first) | (pixels >= end)] = 0
    matrix: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix
