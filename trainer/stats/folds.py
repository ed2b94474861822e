"""Cross-validation in which no group is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from trainer.stats.predictions import Ints

Folds = list[tuple[Ints, Ints]]  # rows to fit on, rows to ask


def grouped_folds(
    targets: Ints, groups: Sequence[str] | Ints, count: int, seed: int, *, least_groups: int = 2
) -> Folds:
    """At most `count` folds, each with both labels to fit on; none when a label has fewer than `least_groups`."""
    names = np.asarray(groups)
    fewest = min((len(np.unique(names[targets == label])) for label in (0, 1)), default=0)
    if fewest < least_groups:
        return []
    splitter = StratifiedGroupKFold(min(count, fewest), shuffle=True, random_state=seed)
    folds = list(splitter.split(names, targets, names))
    return folds if all(len(np.unique(targets[fit])) == 2 for fit, _ in folds) else []
