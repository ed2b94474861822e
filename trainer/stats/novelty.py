"""How unlike the train split a picture is, by its features: what is too unlike gets no verdict.

A Gaussian for each label, with a common covariance, on the main components of features scaled column by column and
brought to length 1 (Lee et al., NeurIPS 2018), and the energy outside of these components (Wang et al., ViM, CVPR
2022): of the scores that were compared, the one that saw pages of text, noise and new sources of photographs. Length 1
matters: a page of text has small features, and small ones lie near every centre.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from trainer.data.types import Floats
from trainer.stats.predictions import Ints

COMPONENTS = 32
SHRINKAGE = 0.1  # of the covariance, towards a multiple of the unit matrix
FORMULA = (
    "x = features * scale; x = x / |x| - centre; z = x @ basis; novelty = min over labels of "
    "|z @ whitening - mean|^2 / components + (|x|^2 - |z|^2) / outside; above cut: unfamiliar"
)
ARRAYS = ("scale", "centre", "basis", "whitening", "means")
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Novelty:
    """scale and centre [d], basis [d, k], whitening [k, k], means [labels, k]; `outside` is the usual energy outside of
    the basis. `cut` is None until it is set, and then no novelty is too great."""

    scale: Singles
    centre: Singles
    basis: Singles
    whitening: Singles
    means: Singles
    outside: float
    cut: float | None = None

    @classmethod
    def of(cls, features: Floats, targets: Ints) -> Novelty | None:
        """Fitted on rows [n, d]; None where a label has fewer than two rows."""
        if min(int((targets == label).sum()) for label in (0, 1)) < 2:
            return None
        deviation = features.std(axis=0)
        scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
        unit = _unit(features * scale)
        centre = unit.mean(axis=0)
        count = max(1, min(COMPONENTS, len(features) // 4, features.shape[1] - 1))
        basis = PCA(count, svd_solver="randomized", random_state=0).fit(unit - centre).components_.T
        inside = (unit - centre) @ basis
        centred = inside - np.stack([inside[targets == label].mean(axis=0) for label in (0, 1)])[targets]
        covariance = np.atleast_2d(np.cov(centred.T))
        usual = float(np.trace(covariance)) / count or 1.0
        values, vectors = np.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * usual * np.eye(count))
        whitening = vectors / np.sqrt(values)
        means = np.stack([(inside[targets == label] @ whitening).mean(axis=0) for label in (0, 1)])
        energy = float((((unit - centre) ** 2).sum(axis=1) - (inside**2).sum(axis=1)).mean())
        return cls(
            scale.astype(np.float32),
            centre.astype(np.float32),
            basis.astype(np.float32),
            whitening.astype(np.float32),
            means.astype(np.float32),
            max(energy, 1e-6),
        )

    def __call__(self, features: Floats) -> Floats:
        """Of rows [n, d]: about 2 for what is usual, more for what is not."""
        centred = _unit(features * self.scale.astype(np.float64)) - self.centre
        inside = centred @ self.basis.astype(np.float64)
        white = inside @ self.whitening.astype(np.float64)
        distances = ((white[:, None, :] - self.means) ** 2).sum(axis=2).min(axis=1)
        outside = (centred**2).sum(axis=1) - (inside**2).sum(axis=1)
        found: Floats = distances / len(self.whitening) + outside / self.outside
        return found

    def to_card(self) -> dict[str, Any]:
        """The card's `novelty`: numbers as base64 of little-endian float32, row by row, with their shapes."""
        arrays = {
            name: {
                "shape": list(getattr(self, name).shape),
                "float32": base64.b64encode(getattr(self, name).astype("<f4").tobytes()).decode("ascii"),
            }
            for name in ARRAYS
        }
        return {"formula": FORMULA, "cut": self.cut, "outside": self.outside, **arrays}

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> Novelty:
        """Raises ValueError or KeyError when it is none that this code knows."""
        if card["formula"] != FORMULA:
            raise ValueError("the card describes a novelty that this version of the trainer does not know")
        arrays = {
            name: np.frombuffer(base64.b64decode(card[name]["float32"]), dtype="<f4").reshape(card[name]["shape"])
            for name in ARRAYS
        }
        cut = None if card["cut"] is None else float(card["cut"])
        return cls(**arrays, outside=float(card["outside"]), cut=cut)


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1))
