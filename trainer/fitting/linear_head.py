"""The frozen mode: a regularised logistic head on embeddings of several augmented views of each picture.

With a few hundred pictures a linear head on frozen features often beats fine-tuning (Cozzolino et al. 2024). Backbone
and low-level branch are standardised and projected on their main components each by itself; how much either weighs,
and C, are chosen by leaving out a real source and a generator at a time (groups, where sources are too few). All of it
is folded into the network's final linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from trainer.data.augmentation import Augmentation
from trainer.data.images import sample_generator
from trainer.data.sampling import sampling_weights
from trainer.data.snapshot import Sample
from trainer.data.sources import source_folds
from trainer.data.types import Floats, GroupedSample, Report
from trainer.models.backbones import classifier_of
from trainer.models.embedding_cache import Embedding
from trainer.models.embeddings import SERVING_VIEW, Embedder
from trainer.stats.folds import Folds, grouped_folds
from trainer.stats.projection import Projection

REGULARISATION = (1e-3, 1e-2, 1e-1)  # inverse strengths C that are tried
BRANCH_SHARES = (0.0, 0.5, 1.0)  # of the branch in the features' variance, that are tried; 0.5 where nothing can tell
BLOCK_COMPONENTS = 160  # main components kept of the backbone and of the branch, at most, each
FEATURE_VARIANCE = 1000.0  # of all features together: with it, C means the same for every backbone
FOLDS = 5  # over groups
PAIRS_MOST = 4  # of a real source and a generator left out together
SCOUTED_VIEWS = 4  # of each picture, in choosing and refitting: the serving view first
FIT_STEPS = 100


@dataclass(frozen=True, slots=True)
class Head:
    """Weight [d] and bias of the final linear layer, and how they were chosen.

    `auc` is that of the best choice, over left-out sources when `by_sources`, else over groups; None without folds.
    """

    weight: Floats
    bias: float
    auc: float | None
    by_sources: bool
    choice: str
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
        storage = embedder.images.storage(sample)
        augmented = [
            augmentation.view(resized, sample_generator(sample, seed, view), storage=storage)
            for view in range(1, views)
        ]
        return [augmentation.preprocessing.center_crop(resized), *augmented]

    recipe = f"{views} views, augmentation {augmentation.key()}, seed {seed}"
    found = embedder.embed([grouped.sample for grouped in samples], recipe, make, report)
    embedder.remember(SERVING_VIEW, {sha256: embedding[:1] for sha256, embedding in found.items()})
    return [found[grouped.sample.sha256] for grouped in samples]


class HeadFitter:
    """Fits heads on the views of train samples, or of some; the last `branch_width` columns are the branch's."""

    def __init__(
        self,
        embeddings: Sequence[Embedding],
        samples: Sequence[GroupedSample],
        branch_width: int,
        seed: int,
        may_stay: Sequence[bool] | None = None,
    ) -> None:
        """`may_stay`: which samples' serving views may be learnt from; none: all."""
        self._samples, self._seed = list(samples), seed
        self._targets = np.array([grouped.sample.target for grouped in samples])
        stacked = np.stack(embeddings).astype(np.float64)  # [n, views, d]
        self._counts = np.ones(stacked.shape[:2], dtype=bool)
        if may_stay is not None and stacked.shape[1] > 1:
            self._counts[:, 0] = may_stay
        width = stacked.shape[-1] - branch_width
        blocks = [stacked[..., :width], stacked[..., width:]] if branch_width else [stacked]
        self._blocks = [_Block.of(block) for block in blocks]
        self._share = 0.5 if branch_width else 0.0
        self._strength = REGULARISATION[1]
        self._rows = {grouped.sample.sha256: row for row, grouped in enumerate(samples)}

    def choose(self, report: Report) -> Head:
        """Choose share and C, fit on everything."""
        pairs = self._pairs()
        folds = pairs or grouped_folds(self._targets, [g.group for g in self._samples], FOLDS, self._seed)
        shares = BRANCH_SHARES if pairs and len(self._blocks) > 1 else (self._share,)
        history: list[dict[str, float]] = []
        choices = [(share, strength) for share in shares for strength in REGULARISATION]
        for share, strength in choices if folds else ():
            auc = self._asked(folds, share, strength)
            history.append({"branch_share": share, "regularisation": strength, "cv_auc": auc})
            report(
                len(history), len(choices), f"branch {share:g}, C = {strength:g}: AUC {auc:.3f} on what was left out"
            )
        best = max(history, key=lambda entry: entry["cv_auc"]) if history else None
        if best:
            self._share, self._strength = best["branch_share"], best["regularisation"]
        weight, bias = self._fitted(np.arange(len(self._samples)), None)
        source = "left-out sources" if pairs else "left-out groups" if folds else "nothing that could be left out"
        return Head(
            weight=weight,
            bias=bias,
            auc=best["cv_auc"] if best else None,
            by_sources=bool(pairs),
            choice=f"branch share {self._share:g} and C = {self._strength:g}, by {source}",
            history=history,
        )

    def refit(self, members: Sequence[GroupedSample]) -> tuple[Floats, float]:
        """By the choice made, on some of the samples: weight [d] and bias."""
        return self._fitted(np.array([self._rows[member.sample.sha256] for member in members]), SCOUTED_VIEWS)

    def _pairs(self) -> Folds:
        """Rows to fit on and rows to ask: a real source and a generator are left out together."""
        real, generated = (source_folds(self._samples, target) for target in (0, 1))
        if not real or not generated:
            return []
        count = min(PAIRS_MOST, max(len(real), len(generated)))
        asked = [real[i % len(real)].rows | generated[i % len(generated)].rows for i in range(count)]
        return [(np.flatnonzero(~rows), np.flatnonzero(rows)) for rows in asked]

    def _asked(self, folds: Folds, share: float, strength: float) -> float:
        """Mean AUC over the folds, over the serving view and the augmented ones."""
        features = self._features(share, SCOUTED_VIEWS)
        aucs = []
        for fit, ask in folds:
            weight, bias = self._solved(features[fit], fit, strength)
            logits = features[ask] @ weight + bias
            for view in range(logits.shape[1]):
                counted = self._counts[ask, view]
                targets = self._targets[ask][counted]
                if len(np.unique(targets)) == 2:
                    aucs.append(roc_auc_score(targets, logits[counted, view]))
        return float(np.mean(aucs))

    def _fitted(self, rows: np.ndarray, views: int | None) -> tuple[Floats, float]:
        weight, bias = self._solved(self._features(self._share, views)[rows], rows, self._strength)
        folded: list[Floats] = []
        for block, scale in zip(self._blocks, self._scales(self._share), strict=True):
            part, weight = weight[: block.width], weight[block.width :]
            folded.append(scale * block.project.matrix @ part)
            bias -= float(block.project.centre @ folded[-1])
        return np.concatenate(folded), bias

    def _scales(self, share: float) -> list[float]:
        shares = [1 - share, share] if len(self._blocks) > 1 else [1.0]
        return [
            float(np.sqrt(FEATURE_VARIANCE * part / max(block.variance, 1e-12)))
            for part, block in zip(shares, self._blocks, strict=True)
        ]

    def _features(self, share: float, views: int | None) -> Floats:
        parts = zip(self._blocks, self._scales(share), strict=True)
        return np.concatenate([scale * block.features[:, :views] for block, scale in parts], axis=-1)

    def _solved(self, features: Floats, rows: np.ndarray, strength: float) -> tuple[Floats, float]:
        """A logistic regression on all views; a picture weighs as often as a balanced sampling would draw it."""
        count, views = features.shape[:2]
        counted = self._counts[rows, :views]
        weights = sampling_weights([self._samples[row] for row in rows]) * count
        by_view = (weights[:, None] / counted.sum(axis=1, keepdims=True)) * counted
        # many more rows than columns: a few Newton steps, where L-BFGS takes a hundred
        model = LogisticRegression(C=strength, solver="newton-cholesky", max_iter=FIT_STEPS)
        model.fit(features[counted], np.repeat(self._targets[rows], views)[counted.ravel()], by_view[counted])
        return model.coef_[0], float(model.intercept_[0])


@dataclass(frozen=True, slots=True)
class _Block:
    """The views [n, views, k] of one branch on their main components, and their variance in all."""

    project: Projection
    features: Floats
    variance: float

    @property
    def width(self) -> int:
        return int(self.features.shape[-1])

    @classmethod
    def of(cls, stacked: Floats) -> _Block:
        rows = stacked.reshape(-1, stacked.shape[-1])
        project = Projection.of(rows, BLOCK_COMPONENTS)
        features = project(rows)
        return cls(project, features.reshape(*stacked.shape[:2], -1), float(features.var(axis=0).sum()))
