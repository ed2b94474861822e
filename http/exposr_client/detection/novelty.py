"""How unlike what the version was trained on a picture is, from the card alone; what is too unlike gets no verdict."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

FORMULA = (
    "x = features * scale; x = x / |x| - centre; z = x @ basis; novelty = min over labels of "
    "|z @ whitening - mean|^2 / components + (|x|^2 - |z|^2) / outside; above cut: unfamiliar"
)
MAX_VALUES = 4_000_000  # of one array: a card is no place for more


@dataclass(frozen=True, slots=True)
class Novelty:
    """scale and centre [d], basis [d, k], whitening [k, k], means [labels, k]. `cut` None: nothing is too new."""

    scale: Rows
    centre: Rows
    basis: Rows
    whitening: Rows
    means: Rows
    outside: float
    cut: float | None

    def of(self, features: Rows) -> list[float]:
        """Of rows [n, d], the features before the final linear layer."""
        scaled = features * self.scale
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        centred = scaled / np.where(lengths > 0, lengths, 1) - self.centre
        inside = centred @ self.basis
        white = inside @ self.whitening
        distances = ((white[:, None, :] - self.means) ** 2).sum(axis=2).min(axis=1)
        outside = (centred**2).sum(axis=1) - (inside**2).sum(axis=1)
        found: list[float] = (distances / len(self.whitening) + outside / self.outside).tolist()
        return found

    def relative(self, novelty: float) -> float | None:
        """In cuts: above 1 is unfamiliar. None without a cut."""
        return novelty / self.cut if self.cut is not None and self.cut > 0 else None

    def is_unfamiliar(self, novelty: float) -> bool:
        return self.cut is not None and not novelty <= self.cut


def parse_novelty(section: dict[str, Any]) -> Novelty:
    """The card's section `novelty`. Raises ValueError, KeyError or TypeError when it is none that this client knows."""
    if section["formula"] != FORMULA:
        raise ValueError("novelty.formula is unknown; install a newer exposr-client")
    scale, centre, basis, whitening, means = (
        _array(section[name]) for name in ("scale", "centre", "basis", "whitening", "means")
    )
    width, count = basis.shape
    shapes = (scale.shape, centre.shape, whitening.shape, means.shape[1:])
    if shapes != ((width,), (width,), (count, count), (count,)):
        raise ValueError(f"novelty: shapes {shapes} do not fit a basis of {basis.shape}")
    outside, cut = float(section["outside"]), section["cut"]
    if not (math.isfinite(outside) and outside > 0) or not (cut is None or math.isfinite(float(cut))):
        raise ValueError(f"novelty: outside is {outside}, cut is {cut}")
    return Novelty(scale, centre, basis, whitening, means, outside, None if cut is None else float(cut))


def _array(section: dict[str, Any]) -> Rows:
    shape = [int(side) for side in section["shape"]]
    if not shape or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
        raise ValueError(f"novelty: an array of shape {shape}")
    data = base64.b64decode(section["float32"], validate=True)
    values = np.frombuffer(data, dtype="<f4").astype(np.float64).reshape(shape)
    if not np.isfinite(values).all():
        raise ValueError("novelty: not all numbers are finite")
    return values
