"""Small models that are asked what the label can be guessed from, always on groups that they were not fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from trainer.data.types import Floats
from trainer.stats.folds import Folds, grouped_folds
from trainer.stats.intervals import Measured, Resampler, auc_interval, hull, missing, percentile_interval
from trainer.stats.metrics import weighted_auc
from trainer.stats.predictions import Ints

LEAST_GROUPS = 4  # of either label, below which nothing is asked
REPLICATES = 500
THUMBNAIL_COMPONENTS = 32


def forest(seed: int) -> Any:
    """For tables of file properties: no scaling, no shape assumed."""
    return RandomForestClassifier(50, min_samples_leaf=3, class_weight="balanced", n_jobs=1, random_state=seed)


def single_tree(seed: int) -> Any:
    """For one property alone."""
    return DecisionTreeClassifier(max_depth=4, min_samples_leaf=4, class_weight="balanced", random_state=seed)


def linear_head(strength: float) -> Any:
    """For few columns that are alike in size: a few Newton steps, where L-BFGS takes hundreds on meaningless labels."""
    return LogisticRegression(C=strength, class_weight="balanced", solver="newton-cholesky", max_iter=100)


def feature_head() -> Any:
    """For a model's features on their main components (see `trainer.stats.projection`)."""
    return linear_head(0.01)


def thumbnail_head() -> Any:
    """For thumbnails as `main_colours` makes them."""
    return linear_head(0.1)


def main_colours(thumbnails: Floats, seed: int) -> Floats:
    """The main components of thumbnails [n, 3072], each of variance 1. No label is in them, so every group may be."""
    count = len(thumbnails)
    if count < 2:
        return np.zeros((count, 1))
    pca = PCA(max(1, min(THUMBNAIL_COMPONENTS, count // 4)), whiten=True, svd_solver="randomized", random_state=seed)
    return np.asarray(pca.fit_transform(thumbnails))


def folds_of(targets: Ints, groups: Ints, count: int, seed: int) -> Folds:
    """None where either label has too few groups to ask anything."""
    return grouped_folds(targets, groups, count, seed, least_groups=LEAST_GROUPS)


def cross_predicted(model: Any, table: Floats, targets: Ints, folds: Folds) -> Floats | None:
    """P(1) of every row by a model fitted on other groups; None where there are no folds."""
    if not folds:
        return None
    guesses = np.full(len(targets), np.nan)
    for fit, ask in folds:
        guesses[ask] = clone(model).fit(table[fit], targets[fit]).predict_proba(table[ask])[:, 1]
    return guesses


def auc_of(guesses: Floats | None, targets: Ints, groups: Ints, seed: int = 0) -> Measured:
    """The AUC of guesses with its interval."""
    n, group_count = len(targets), len(np.unique(groups))
    if guesses is None:
        return missing(f"fewer than {LEAST_GROUPS} groups", n, group_count)
    value = float(weighted_auc(np.ones((1, n)), targets, guesses)[0])
    draws = [
        weighted_auc(weights, targets, guesses) for weights in Resampler(targets, groups, REPLICATES, seed).weights()
    ]
    counts = [len(np.unique(groups[targets == label])) for label in (1, 0)]
    interval = hull(percentile_interval(np.concatenate(draws)), auc_interval(value, *counts))
    low, high = interval if interval else (None, None)
    return Measured(value, low, high, n, group_count)


def permuted_auc(model: Any, table: Floats, targets: Ints, groups: Ints, folds: int, runs: int, seed: int) -> Measured:
    """The mean AUC with labels dealt anew to the groups: about 0.5 unless fitting and asking share something."""
    generator = np.random.default_rng(seed)
    n, count = len(targets), int(groups.max()) + 1
    label_of_group = np.array([round(float(targets[groups == group].mean())) for group in range(count)])
    aucs = []
    for run in range(runs):
        dealt = generator.permutation(label_of_group)[groups]
        guesses = cross_predicted(model, table, dealt, folds_of(dealt, groups, folds, seed + run))
        if guesses is None:
            return missing(f"fewer than {LEAST_GROUPS} groups of one label", n, count)
        aucs.append(float(weighted_auc(np.ones((1, n)), dealt, guesses)[0]))
    # each run's error is that of a single AUC; the runs are over the same pictures and not quite independent
    mean = float(np.mean(aucs))
    per_label = np.bincount(label_of_group, minlength=2)
    low, high = auc_interval(min(max(mean, 0.0), 1.0), int(per_label[1]), int(per_label[0]))
    return Measured(mean, low, high, n, count)
