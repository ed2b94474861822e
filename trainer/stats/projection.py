"""Embeddings, standardised, on their main components: what the probes and the plain heads get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from trainer.data.types import Floats

LEAST_DEVIATION = 0.05  # of a column, as a share of the median column's
COMPONENTS_MAX = 256  # more do not help with small data, and a fit costs their square


def scale_of(deviations: Floats) -> Floats:
    """What standardises columns with these deviations [d]; 0 for one that never moves.

    A column that hardly moves here may jump elsewhere: it is not blown up as far as one that always moves.
    """
    floored = np.maximum(deviations, LEAST_DEVIATION * np.median(deviations))
    scale: Floats = np.where(deviations > 0, 1 / np.where(deviations > 0, floored, 1), 0)
    return scale


@dataclass(frozen=True, slots=True)
class Projection:
    """`(rows - centre) @ matrix`, with matrix [d, k] and centre [d]."""

    matrix: Floats
    centre: Floats

    @classmethod
    def of(cls, rows: Floats) -> Projection:
        """Fitted on rows [n, d], the same bits each time; k is the least of n, d and COMPONENTS_MAX."""
        mean, scale = rows.mean(axis=0), scale_of(rows.std(axis=0))
        solver = "covariance_eigh" if rows.shape[0] > rows.shape[1] else "full"
        pca = PCA(min(COMPONENTS_MAX, *rows.shape), svd_solver=solver).fit((rows - mean) * scale)
        # centred columns have mean zero, so pca.mean_ vanishes and `mean` is the whole centre
        return cls(scale[:, None] * pca.components_.T, mean)

    def __call__(self, rows: Floats) -> Floats:
        return (rows - self.centre) @ self.matrix
