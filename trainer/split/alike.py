"""Pictures that are nearly alike to a network: the same object from another side, the next frame of a burst.

A perceptual hash sees copies; what leaks between the parts of a split is more often the same subject. Alike are two
pictures of one label whose embeddings are closer than nearly all pairs of these data are: the cosine lies SPREADS
standard deviations (of the upper half) above the median. Fixed cosines mean different things to different networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPREADS = 5.0
NEIGHBOURS = 4  # of each picture at most, so that a chain of resemblances does not tie everything together
LEAST_PICTURES = 50  # fewer do not tell what is usual
SAMPLED = 2000  # pictures whose pairs tell what is usual
BLOCK = 256
NORMAL_99 = 2.326  # standard deviations from the median to the 99th percentile of a normal distribution
LEAST_SPREAD = 1e-3  # of cosines: below, the network sees no difference between any two pictures


def alike_pairs(
    embeddings: NDArray[np.float32], targets: Sequence[int], fresh: Sequence[bool]
) -> list[tuple[int, int]]:
    """Pairs of rows of `embeddings` [n, d], of which at least one is `fresh`."""
    count = len(embeddings)
    if count < LEAST_PICTURES:
        return []
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = (embeddings / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    threshold = _threshold(unit)
    if threshold is None:
        return []
    labels = np.asarray(targets)
    pairs: set[tuple[int, int]] = set()
    rows = np.flatnonzero(np.asarray(fresh, dtype=bool))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        cosines = unit[block] @ unit.T
        cosines[labels[block][:, None] != labels[None, :]] = -1
        cosines[np.arange(len(block)), block] = -1
        nearest = np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        close = np.take_along_axis(cosines, nearest, axis=1) >= threshold
        for line, column in zip(*np.nonzero(close), strict=True):
            own, other = int(block[line]), int(nearest[line, column])
            pairs.add((min(own, other), max(own, other)))
    return sorted(pairs)


def _threshold(unit: NDArray[np.float32]) -> float | None:
    chosen = np.random.default_rng(0).permutation(len(unit))[:SAMPLED]
    cosines = (unit[chosen] @ unit[chosen].T)[np.triu_indices(len(chosen), 1)]
    median, high = np.quantile(cosines, [0.5, 0.99])
    if high - median < LEAST_SPREAD:
        return None
    return float(median + SPREADS * (high - median) / NORMAL_99)
