"""The frozen mode: a regularised logistic head on embeddings of several augmented views of each picture.

With a few hundred pictures a linear head on frozen features often beats fine-tuning (Cozzolino et al. 2024). Backbone
and low-level branch are standardised and projected on their main components each by itself; how much either weighs,
C, and how strongly views are augmented, are chosen by leaving out a real source and a generator at a time (groups,
where sources are too few). All of it is folded into the network's final linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from trainer.data.augmentation import Augmentation
from trainer.data.images import sample_generator
from trainer.data.sampling import sampling_weights
from trainer.data.snapshot import Sample
from trainer.data.types import Floats, GroupedSample, Report
from trainer.models.backbones import classifier_of
from trainer.models.embedding_cache import Embedding
from trainer.models.embeddings import SERVING_VIEW, Embedder
from trainer.models.reconstructions import Reconstructions
from trainer.split.sources import source_folds
from trainer.stats.folds import Folds, grouped_folds
from trainer.stats.predictions import Ints
from trainer.stats.projection import Projection

REGULARISATION = (1e-3, 1e-2, 1e-1)  # inverse strengths C that are tried
BRANCH_SHARES = (0.0, 0.5, 0.75, 1.0)  # of the branch in the features' variance, that are tried
USUAL_SHARE = 0.75  # the best over many mixes of sources, and kept unless one of the others is clearly better
LEAST_GAIN = 0.02  # of AUC on left-out sources, from which on it is: few sources say little more than that
BLOCK_COMPONENTS = 160  # main components kept of the backbone and of the branch, at most, each
FEATURE_VARIANCE = 1000.0  # of all features together: with it, C means the same for every backbone
FOLDS = 5  # over groups
PAIRS_MOST = 4  # of a real source and a generator left out together
AUGMENTATIONS = ("none", "gentle", "full")  # the views that are fitted on: one, the gentle ones, all
REFIT_VIEWS = 3  # of each picture, at most, in fitting again
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
    reconstructions: Reconstructions | None = None,
) -> list[Embedding]:
    """[views, d] of each sample: the serving view first, then gently augmented ones, then fully augmented ones.

    With `reconstructions`, of those of the samples, by the same draws.
    """

    def make(sample: Sample, image: Image.Image) -> list[Image.Image]:
        resized = augmentation.preprocessing.resized(image)
        if reconstructions:
            resized = reconstructions.of(sample, resized)
        storage = embedder.images.storage(sample)
        augmented = [
            augmentation.view(
                resized, sample_generator(sample, seed, view), storage=storage, gentle=view < gentle_views(views)
            )
            for view in range(1, views)
        ]
        return [augmentation.preprocessing.center_crop(resized), *augmented]

    recipe = f"{gentle_views(views)} gentle of {views} views, augmentation {augmentation.key()}, seed {seed}"
    if reconstructions:
        recipe = f"{recipe}, {reconstructions.key()}"
    found = embedder.embed([grouped.sample for grouped in samples], recipe, make, report)
    if not reconstructions:
        embedder.remember(SERVING_VIEW, {sha256: embedding[:1] for sha256, embedding in found.items()})
    return [found[grouped.sample.sha256] for grouped in samples]


def gentle_views(views: int) -> int:
    """How many of the first views are at most gently augmented, the serving view among them."""
    return max(1, (views + 1) // 2)


class HeadFitter:
    """Fits heads on the views of train samples, or of some; the last `branch_width` columns are the branch's."""

    def __init__(
        self,
        embeddings: Sequence[Embedding],
        samples: Sequence[GroupedSample],
        branch_width: int,
        seed: int,
        may_stay: Sequence[bool] | None = None,
        pairs: Sequence[tuple[GroupedSample, Embedding]] = (),
    ) -> None:
        """`may_stay`: which samples' serving views may be learnt from; none: all.

        `pairs` are reconstructions of some of the samples, under the same sha256: they are fitted on wherever their
        photograph is, and never asked.
        """
        rows = {grouped.sample.sha256: row for row, grouped in enumerate(samples)}
        self._seed, self._rows, self._asked_about = seed, rows, list(samples)
        self._samples = [*samples, *(member for member, _ in pairs)]
        # the row of the photograph that a row shows
        self._photo = np.array([*range(len(samples)), *(rows[member.sample.sha256] for member, _ in pairs)])
        self._targets = np.array([grouped.sample.target for grouped in self._samples])
        # [n, views, d]
        stacked = np.stack([*embeddings, *(embedding for _, embedding in pairs)]).astype(np.float64)
        self._may_count: NDArray[np.bool_] = np.ones(stacked.shape[:2], dtype=bool)
        if may_stay is not None and stacked.shape[1] > 1:
            self._may_count[:, 0] = np.asarray(may_stay)[self._photo]
        width = stacked.shape[-1] - branch_width
        blocks = [stacked[..., :width], stacked[..., width:]] if branch_width else [stacked]
        self._blocks = [_Block.of(block) for block in blocks]
        self._share = USUAL_SHARE if branch_width else 0.0
        self._augmentation = AUGMENTATIONS[1]
        self._strength = REGULARISATION[1]

    def choose(self, report: Report) -> Head:
        """Choose share and C, then the augmentation, and fit on everything."""
        pairs = self._pairs()
        folds = pairs or self._group_folds()
        shares = BRANCH_SHARES if pairs and len(self._blocks) > 1 else (self._share,)
        history: list[dict[str, float]] = []

        def ask(share: float, strength: float, augmentation: str) -> float:
            auc = self._asked(folds, share, strength, augmentation)
            number = float(AUGMENTATIONS.index(augmentation))
            history.append({"branch_share": share, "regularisation": strength, "augmentation": number, "cv_auc": auc})
            total = len(shares) * len(REGULARISATION) + len(AUGMENTATIONS) - 1
            report(len(history), total, f"branch {share:g}, C {strength:g}, augmentation {augmentation}: {auc:.3f}")
            return auc

        if folds:
            for share in shares:
                for strength in REGULARISATION:
                    ask(share, strength, AUGMENTATIONS[0])
            best = max(history, key=lambda entry: entry["cv_auc"])
            usual = self._at_choice(history)[0]
            if best["cv_auc"] >= usual["cv_auc"] + LEAST_GAIN:
                self._share, self._strength = best["branch_share"], best["regularisation"]
            for augmentation in AUGMENTATIONS[1:]:
                ask(self._share, self._strength, augmentation)
            best = max(self._at_choice(history), key=lambda entry: entry["cv_auc"])
            self._augmentation = AUGMENTATIONS[int(best["augmentation"])]
        weight, bias = self._fitted(np.arange(len(self._samples)), None)
        by = "left-out sources" if pairs else "left-out groups" if folds else "nothing that could be left out"
        return Head(
            weight=weight,
            bias=bias,
            auc=max((entry["cv_auc"] for entry in self._at_choice(history)), default=None),
            by_sources=bool(pairs),
            choice=f"branch share {self._share:g}, C {self._strength:g}, augmentation {self._augmentation}, by {by}",
            history=history,
        )

    def _at_choice(self, history: Sequence[dict[str, float]]) -> list[dict[str, float]]:
        """The entries of the share and strength that are chosen, one an augmentation."""
        made = (self._share, self._strength)
        return [entry for entry in history if (entry["branch_share"], entry["regularisation"]) == made]

    def refit(self, members: Sequence[GroupedSample]) -> tuple[Floats, float]:
        """By the choice made, on some of the samples: weight [d] and bias."""
        return self._fitted(self._with_pairs([self._rows[member.sample.sha256] for member in members]), REFIT_VIEWS)

    def _pairs(self) -> Folds:
        """Rows to fit on and rows to ask: a real source and a generator are left out together."""
        real, generated = (source_folds(self._asked_about, target) for target in (0, 1))
        if not real or not generated:
            return []
        count = min(PAIRS_MOST, max(len(real), len(generated)))
        asked = [real[i % len(real)].rows | generated[i % len(generated)].rows for i in range(count)]
        return [(self._with_pairs(np.flatnonzero(~rows)), np.flatnonzero(rows)) for rows in asked]

    def _group_folds(self) -> Folds:
        count = len(self._asked_about)
        groups = [member.group for member in self._asked_about]
        folds = grouped_folds(self._targets[:count], groups, FOLDS, self._seed)
        return [(self._with_pairs(fit), ask) for fit, ask in folds]

    def _with_pairs(self, rows: Sequence[int] | Ints) -> Ints:
        """The rows, and those of their reconstructions."""
        return np.flatnonzero(np.isin(self._photo, rows))

    def _asked(self, folds: Folds, share: float, strength: float, augmentation: str) -> float:
        """Mean AUC over the folds, over the serving view and the augmented ones."""
        features = self._features(share)
        aucs = []
        for fit, ask in folds:
            weight, bias = self._solved(features[fit], fit, strength, self._counted(augmentation)[fit])
            logits = features[ask] @ weight + bias
            for view in range(logits.shape[1]):
                counted = self._may_count[ask, view]
                targets = self._targets[ask][counted]
                if len(np.unique(targets)) == 2:
                    aucs.append(roc_auc_score(targets, logits[counted, view]))
        return float(np.mean(aucs))

    def _counted(self, augmentation: str) -> NDArray[np.bool_]:
        """bool [n, views]: which views are fitted on."""
        counted = self._may_count.copy()
        if augmentation == "none":  # the first one that may be
            counted &= np.cumsum(counted, axis=1) == 1
        elif augmentation == "gentle":
            counted[:, max(2, gentle_views(int(counted.shape[1]))) :] = False
        return counted

    def _fitted(self, rows: np.ndarray, most_views: int | None) -> tuple[Floats, float]:
        counted = self._counted(self._augmentation)[rows]
        if most_views is not None:
            counted &= np.cumsum(counted, axis=1) <= most_views
        weight, bias = self._solved(self._features(self._share)[rows], rows, self._strength, counted)
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

    def _features(self, share: float) -> Floats:
        """[n, views, k]: the blocks side by side, in the variance that `share` gives them."""
        parts = zip(self._blocks, self._scales(share), strict=True)
        return np.concatenate([scale * block.features for block, scale in parts], axis=-1)

    def _solved(
        self, features: Floats, rows: np.ndarray, strength: float, counted: NDArray[np.bool_]
    ) -> tuple[Floats, float]:
        """A logistic regression; a picture weighs as often as a balanced sampling would draw it, its views share that.

        Each row of `counted` marks at least one view.
        """
        weights = sampling_weights([self._samples[row] for row in rows]) * len(rows)
        by_view = weights[:, None] / counted.sum(axis=1, keepdims=True) * counted
        targets = np.broadcast_to(self._targets[rows, None], counted.shape)
        # many more rows than columns: a few Newton steps, where L-BFGS takes a hundred
        model = LogisticRegression(C=strength, solver="newton-cholesky", max_iter=FIT_STEPS)
        model.fit(features[counted], targets[counted], by_view[counted])
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
