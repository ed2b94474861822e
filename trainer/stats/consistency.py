"""How consistently each feature tells the labels apart, whichever sources the pictures come from.

A feature that separates one generator from one real source may separate nothing else. For every pair of a real source
and a generator the effect size of each feature is taken (Cohen's d, with the pooled deviation of the two). Consistent
is what is large on average and varies little over the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.types import Floats
from trainer.stats.predictions import Ints

SPREAD = 0.5  # added to the deviation over the pairs: with one pair, the effect size alone counts
LEAST_ROWS = 8  # of a source that counts by itself; those with fewer are taken together
MOST_SOURCES = 12  # of a label that count by themselves


def consistency(features: Floats, targets: Ints, sources: Sequence[str]) -> Floats:
    """[d] of features [n, d], at least 0, with a mean square of 1; all ones where it says nothing."""
    moments = [_moments(features, targets, np.asarray(sources), label) for label in (0, 1)]
    effects = np.array(
        [
            (generated - real) / np.sqrt((own + other) / 2 + 1e-12)
            for real, own in moments[0]
            for generated, other in moments[1]
        ]
    )
    if not len(effects):
        return np.ones(features.shape[1])
    found = np.abs(effects.mean(axis=0)) / (effects.std(axis=0) + SPREAD)
    size = float(np.sqrt((found**2).mean()))
    return found / size if size > 0 else np.ones(features.shape[1])


def _moments(
    features: Floats, targets: Ints, sources: np.ndarray[tuple[int], np.dtype[np.str_]], label: int
) -> list[tuple[Floats, Floats]]:
    """Mean and variance of each source of a label."""
    rows = targets == label
    names, counts = np.unique(sources[rows], return_counts=True)
    by_size = sorted(zip(counts.tolist(), names.tolist(), strict=True), reverse=True)
    alone = [name for count, name in by_size[:MOST_SOURCES] if count >= LEAST_ROWS]
    parts = [features[rows & (sources == name)] for name in alone]
    rest = features[rows & ~np.isin(sources, alone)]
    if len(rest) >= LEAST_ROWS or (len(rest) and not parts):
        parts.append(rest)
    return [(part.mean(axis=0), part.var(axis=0)) for part in parts]
