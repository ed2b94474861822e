"""The frozen mode in the tests' own process: split, embed, fit; then the model's scores. Small inputs, one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.snapshot import Sample
from trainer.data.types import GroupedSample
from trainer.fitting.linear_head import HeadFitter, embed_views
from trainer.models.backbones import branch_width, load_backbone
from trainer.models.embeddings import Embedder
from trainer.models.scorer import ModelScorer
from trainer.split.split import Split, split_samples
from utils.config.training import Augmentation as AugmentationSettings
from utils.config.training import Model

VIEWS = 4


def silent(done: int, total: int, message: str) -> None:
    pass


@dataclass(frozen=True)
class Probed:
    scorer: ModelScorer
    split: Split
    augmentation: Augmentation

    def logits(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        return self.scorer.logits([GroupedSample(sample, sample.sha256, "test") for sample in samples])


def probe(
    data: Path,
    samples: Sequence[Sample],
    ledger: Path,
    *,
    augmented: bool = True,
    size: int = 96,
    key: str = "planted",
) -> Probed:
    """Train a head on the train split of `samples`."""
    torch.set_num_threads(1)
    settings = Model(image_size=size, short_side_max=2 * size, architecture="mobilenetv2_100")
    backbone = load_backbone(settings, on_gpu=False, seed=0)
    augmentation = Augmentation(AugmentationSettings(enabled=augmented), backbone.preprocessing)
    split = split_samples(samples, ledger, key=key, near_duplicate_distance=6)
    images = ImageFolder(data)
    embedder = Embedder(
        backbone.model, backbone.architecture, backbone.preprocessing, images, None, torch.device("cpu")
    )
    train = split.parts["train"]
    views = embed_views(embedder, augmentation, train, VIEWS, 0, silent)
    HeadFitter(views, train, branch_width(backbone.model), 0).choose(silent).put_into(backbone.model)
    scorer = ModelScorer(backbone.model, backbone.architecture, backbone.preprocessing, images)
    return Probed(scorer, split, augmentation)
