"""The frozen mode: a regularised logistic head on embeddings of several augmented views of each picture.

With a few hundred pictures a linear head on frozen features often beats fine-tuning (Cozzolino et al. 2024). Features
are standardised and projected on their main components, C is chosen by cross-validation over groups, and all of it is
folded into the network's final linear layer, so that what is published is the plain network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from trainer.data.augmentation import Augmentation
from trainer.data.images import sample_generator
from trainer.data.snapshot import Sample
from trainer.data.types import Floats, GroupedSample, Report
from trainer.models.backbones import classifier_of
from trainer.models.embedding_cache import Embedding
from trainer.models.embeddings import SERVING_VIEW, Embedder
from trainer.stats.folds import grouped_folds
from trainer.stats.projection import Projection

REGULARISATION = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse strengths C that are tried
FOLDS = 5
SCOUTED_SHARE = 0.5  # of the views, in cross-validation
FIT_STEPS = 100


@dataclass(frozen=True, slots=True)
class Head:
    """Weight [d] and bias of the final linear layer, and how they were chosen. `cv_auc` is None without two folds."""

    weight: Floats
    bias: float
    regularisation: float
    cv_auc: float | None
    history: list[dict[str, float]]

    def put_into(self, model: nn.Module) -> None:
        head = classifier_of(model)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(self.weight).to(head.weight.dtype)[None, :])
            if head.bias is None:
                raise TypeError("the final linear layer has no bias")
            head.bias.fill_(self.bias)


def embed_views(
    embedder: Embedder,
    augmentation: Augmentation,
    samples: Sequence[GroupedSample],
    views: int,
    seed: int,
    report: Report,
) -> list[Embedding]:
    """[views, d] of each sample: the serving view first, then augmented ones."""

    def make(sample: Sample, image: Image.Image) -> list[Image.Image]:
        resized = augmentation.preprocessing.resized(image)
        augmented = [augmentation.view(resized, sample_generator(sample, seed, view)) for view in range(1, views)]
        return [augmentation.preprocessing.center_crop(resized), *augmented]

    recipe = f"{views} views, augmentation {augmentation.key()}, seed {seed}"
    found = embedder.embed([grouped.sample for grouped in samples], recipe, make, report)
    embedder.remember(SERVING_VIEW, {sha256: embedding[:1] for sha256, embedding in found.items()})
    return [found[grouped.sample.sha256] for grouped in samples]


def fit_head(embeddings: Sequence[Embedding], samples: Sequence[GroupedSample], seed: int, report: Report) -> Head:
    """Choose C by grouped cross-validation, then fit on everything. Each label and each picture weigh the same."""
    stacked = np.stack(embeddings).astype(np.float64)  # [n, views, d]
    count, views, width = stacked.shape
    targets = np.array([grouped.sample.target for grouped in samples])
    rows = stacked.reshape(-1, width)
    project = Projection.of(rows)
    features = project(rows).reshape(count, views, -1)
    folds = grouped_folds(targets, [grouped.group for grouped in samples], FOLDS, seed)
    history: list[dict[str, float]] = []
    scouted = features[:, : max(1, round(SCOUTED_SHARE * views))]  # the serving view first: enough to choose C by
    for number, strength in enumerate(REGULARISATION if folds else ()):
        held_out = np.full(count, np.nan)
        for train, test in folds:
            weight, bias = _fit(scouted[train], targets[train], strength)
            held_out[test] = features[test, 0] @ weight + bias
        history.append(
            {
                "regularisation": strength,
                "cv_log_loss": float(log_loss(targets, 1 / (1 + np.exp(-held_out)))),
                "cv_auc": float(roc_auc_score(targets, held_out)),
            }
        )
        report(number + 1, len(REGULARISATION), f"C = {strength:g}: AUC over groups {history[-1]['cv_auc']:.3f}")
    best = min(history, key=lambda entry: entry["cv_log_loss"]) if history else None
    strength = best["regularisation"] if best else REGULARISATION[1]
    weight, bias = _fit(features, targets, strength)
    folded = project.matrix @ weight
    return Head(folded, float(bias - project.centre @ folded), strength, best["cv_auc"] if best else None, history)


def _fit(features: Floats, targets: np.ndarray, strength: float) -> tuple[Floats, float]:
    """A logistic regression on all views; the weights of the pictures of a label sum up to half of all."""
    count, views, width = features.shape
    per_picture = np.where(targets == 1, 0.5 / max(targets.sum(), 1), 0.5 / max((1 - targets).sum(), 1)) * count
    # many more rows than columns: a few Newton steps, where L-BFGS takes a hundred
    model = LogisticRegression(C=strength, solver="newton-cholesky", max_iter=FIT_STEPS)
    model.fit(features.reshape(-1, width), np.repeat(targets, views), np.repeat(per_picture / views, views))
    return model.coef_[0], float(model.intercept_[0])
