"""Embeddings on the main components of their standardised selves: what every linear head on frozen features gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from trainer.data.types import Floats

COMPONENTS_MAX = 256  # more do not help with small data, and a fit costs their square


@dataclass(frozen=True, slots=True)
class Projection:
    """`(rows - centre) @ matrix`, with matrix [d, k] and centre [d]."""

    matrix: Floats
    centre: Floats

    @classmethod
    def of(cls, rows: Floats) -> Projection:
        """Fitted on rows [n, d], the same bits each time; k is the least of n, d and COMPONENTS_MAX."""
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
        solver = "covariance_eigh" if rows.shape[0] > rows.shape[1] else "full"
        pca = PCA(min(COMPONENTS_MAX, *rows.shape), svd_solver=solver).fit((rows - mean) * scale)
        # standardised columns have mean zero, so pca.mean_ vanishes and `mean` is the whole centre
        return cls(scale[:, None] * pca.components_.T, mean)

    def __call__(self, rows: Floats) -> Floats:
        return (rows - self.centre) @ self.matrix
