"""The frozen mode: a regularised linear head on embeddings of several augmented views of each picture.

With a few hundred pictures a linear head on frozen features often beats fine-tuning (Cozzolino et al. 2024). Each
feature weighs as consistently as it tells the labels apart over pairs of sources (`trainer.stats.consistency`). How
much backbone and low-level branch weigh, the regularisation, and which views are fitted on, are chosen by leaving out a
real source and a generator at a time (groups, where sources are too few). All of it is folded into the network's final
linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import Ridge
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
from trainer.split.sources import SourceFold, origin, source_folds
from trainer.stats.consistency import consistency
from trainer.stats.folds import Folds, grouped_folds
from trainer.stats.predictions import Ints
from trainer.stats.projection import scale_of

STRENGTHS = (1e-3, 3e-3, 1e-2)  # of the regularisation, that are tried
USUAL_STRENGTH = STRENGTHS[1]
BRANCH_SHARES = (0.0, 0.5, 0.75, 1.0)  # of the branch in the features' variance, that are tried
USUAL_SHARE = 0.75  # the best over many mixes of sources
# of AUC on left-out sources, from which on another choice than the usual one is made. With two or three sources a
# label, what was best on those left out said nothing about the next one (docs/training.md), so a gain must be large.
LEAST_GAIN = 0.15
LEAST_FOLDS = 3  # of either label, to choose share and strength: with two, one source a label is left to fit on
FOLDS = 5  # over groups
PAIRS_MOST = 6  # of a real source and a generator left out together
# the views that are fitted on: those served, as the files are; the first with a storage history; the gentle ones; all
VIEWS = ("served", "one", "gentle", "all")
ROWS_MOST = 3000  # views fitted on, at most, as long as each picture has one
REFIT_VIEWS = 3  # of each picture, at most, in fitting again
LOGIT_SCALE = 5.0  # logits of a picture that is told apart as its label is: calibration finds the right scale


@dataclass(frozen=True, slots=True)
class Choice:
    """How a head is fitted: the branch's share of the variance, the strength of the regularisation, one of VIEWS."""

    share: float
    strength: float
    views: str

    def __str__(self) -> str:
        return f"branch share {self.share:g}, strength {self.strength:g}, {self.views} views"


@dataclass(frozen=True, slots=True)
class Head:
    """Weight [d] and bias of the final linear layer, and how they were chosen.

    `auc` is that of the best choice, over left-out sources when `by_sources`, else over groups; None without folds.
    `is_gentle`: at this share and strength, views that were not fully augmented did best.
    """

    weight: Floats
    bias: float
    auc: float | None
    by_sources: bool
    is_gentle: bool
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
            resized = reconstructions.of(sample, resized, image.size)
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
        self._origins = [origin(member) for member in self._samples]
        # [n, views, d]
        self._views = np.stack([*embeddings, *(embedding for _, embedding in pairs)])
        self._may_count: NDArray[np.bool_] = np.ones(self._views.shape[:2], dtype=bool)
        if may_stay is not None and self._views.shape[1] > 1:
            self._may_count[:, 0] = np.asarray(may_stay)[self._photo]
        width = self._views.shape[-1] - branch_width
        self._blocks = [slice(0, width), slice(width, None)] if branch_width else [slice(0, None)]
        self._choice = Choice(USUAL_SHARE if branch_width else 0.0, USUAL_STRENGTH, VIEWS[1])

    def choose(self, report: Report, *, share: float | None = None, views: str | None = None) -> Head:
        """Choose share and strength, then the views, and fit on everything. What is given is not chosen."""
        real, generated = (source_folds(self._asked_about, target) for target in (0, 1))
        pairs = self._pairs(real, generated)
        folds = pairs or self._group_folds()
        if share is not None:
            self._choice = replace(self._choice, share=share)
        if views is not None:
            self._choice = replace(self._choice, views=views)
        usual = replace(self._choice, views=views or VIEWS[0])
        others = [usual]
        if min(len(real), len(generated)) >= LEAST_FOLDS:
            may_choose_share = share is None and len(self._blocks) > 1
            shares = BRANCH_SHARES if may_choose_share else (usual.share,)
            others = [replace(usual, share=part, strength=strength) for part in shares for strength in STRENGTHS]
        kinds = VIEWS if views is None else (views,)
        total = len(others) + len(kinds) - 1
        aucs: dict[Choice, float] = {}

        def ask(choices: Sequence[Choice]) -> Choice:
            """The best of them."""
            for choice in choices:
                if choice not in aucs:
                    aucs[choice] = self._asked(folds, choice)
                    report(len(aucs), total, f"{choice}: {aucs[choice]:.3f}")
            return max(choices, key=lambda choice: aucs[choice])

        is_gentle = False
        if folds:
            for_all = _for_a_large_gain(usual, ask(others), aucs)
            best = ask([replace(for_all, views=kind) for kind in kinds])
            is_gentle = best.views != VIEWS[-1]
            self._choice = _for_a_large_gain(for_all, best, aucs)
        weight, bias = self._solved(np.arange(len(self._samples)), self._choice)
        by = "left-out sources" if pairs else "left-out groups" if folds else "nothing that could be left out"
        return Head(
            weight=weight,
            bias=bias,
            auc=aucs.get(self._choice),
            by_sources=bool(pairs),
            is_gentle=is_gentle,
            choice=f"{self._choice}, by {by}",
            history=[
                {
                    "branch_share": choice.share,
                    "regularisation": choice.strength,
                    "views": float(VIEWS.index(choice.views)),
                    "cv_auc": auc,
                }
                for choice, auc in aucs.items()
            ],
        )

    def refit(self, members: Sequence[GroupedSample]) -> tuple[Floats, float]:
        """By the choice made, on some of the samples: weight [d] and bias."""
        rows = self._with_pairs([self._rows[member.sample.sha256] for member in members])
        return self._solved(rows, self._choice, REFIT_VIEWS)

    def _pairs(self, real: Sequence[SourceFold], generated: Sequence[SourceFold]) -> Folds:
        """Rows to fit on and rows to ask: a real source and a generator are left out together."""
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

    def _asked(self, folds: Folds, choice: Choice) -> float:
        """Mean AUC over the folds, over the serving view and the augmented ones.

        Storage says nothing there: a serving view is asked only where both labels are stored like it.
        """
        aucs = []
        for fit, ask in folds:
            weight, bias = self._solved(fit, choice)
            logits = self._views[ask] @ weight + bias
            for view in range(logits.shape[1]):
                counted = self._may_count[ask, view]
                targets = self._targets[ask][counted]
                if len(np.unique(targets)) == 2:
                    aucs.append(roc_auc_score(targets, logits[counted, view]))
        return float(np.mean(aucs))

    def _counted(self, views: str) -> NDArray[np.bool_]:
        """bool [n, views]: which views are fitted on, at least one of each picture."""
        if views == "served":
            counted = np.zeros_like(self._may_count)
            counted[:, 0] = True
            return counted
        counted = self._may_count.copy()
        if views == "one":
            counted &= np.cumsum(counted, axis=1) == 1
        elif views == "gentle":
            counted[:, max(2, gentle_views(int(counted.shape[1]))) :] = False
        return counted

    def _solved(self, rows: Ints, choice: Choice, most_views: int | None = None) -> tuple[Floats, float]:
        """Weight [d] and bias of a ridge regression on the labels (Hoerl and Kennard 1970); `rows` ascend.

        A picture weighs as often as a balanced sampling would draw it, its views share that.
        """
        most = max(1, ROWS_MOST // len(rows))
        counted = _thinned(self._counted(choice.views)[rows], min(most, most_views or most))
        picture = np.nonzero(counted)[0]  # the place in `rows` of each view that counts
        features = self._views[rows][counted].astype(np.float64)
        count = len(self._asked_about)
        own, made = ([self._samples[row] for row in part] for part in (rows[rows < count], rows[rows >= count]))
        weights = (sampling_weights(own, made) / counted.sum(axis=1))[picture]
        targets = self._targets[rows][picture]
        mean = weights @ features
        features -= mean
        scale = self._scale(np.sqrt(weights @ features**2), choice.share)
        scale *= consistency(features, targets, [self._origins[row] for row in rows[picture]])
        model = Ridge(alpha=choice.strength, solver="cholesky").fit(features * scale, 2.0 * targets - 1, weights)
        weight: Floats = LOGIT_SCALE * scale * model.coef_
        return weight, float(LOGIT_SCALE * model.intercept_ - mean @ weight)

    def _scale(self, deviations: Floats, share: float) -> Floats:
        """[d]: each feature by its deviation, each block in the variance that `share` gives it, 1 in all."""
        scale = np.zeros_like(deviations)
        for block, part in zip(self._blocks, [1 - share, share] if len(self._blocks) > 1 else [1.0], strict=True):
            own = scale_of(deviations[block])
            scale[block] = np.sqrt(part / len(own)) * own
        return scale


def _for_a_large_gain(usual: Choice, best: Choice, aucs: Mapping[Choice, float]) -> Choice:
    return best if aucs[best] >= aucs[usual] + LEAST_GAIN else usual


def _thinned(counted: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """At most `most` views of each row, evenly from its first to its last."""
    number, total = np.cumsum(counted, axis=1), counted.sum(axis=1, keepdims=True)
    # of the views 1 to total, those with which number * most / total passes an integer
    kept = np.ceil(number * most / total) > np.ceil((number - 1) * most / total)
    found: NDArray[np.bool_] = counted & ((total <= most) | kept)
    return found
