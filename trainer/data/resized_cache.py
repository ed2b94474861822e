"""Shrunk pictures kept as plain arrays while a fine-tuning runs, so that each is decoded once and not once an epoch."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from trainer.data.augmentation import Augmentation
from trainer.data.images import Images, sample_generator
from trainer.data.preprocessing import Preprocessing
from trainer.data.sampling import Draw
from trainer.data.snapshot import Sample
from trainer.data.types import GroupedSample

FREE_SHARE = 0.5  # of the free disk, at most, is taken for prepared pictures
ASPECT = 1.6  # long over short side, for the estimate of their size


class PreparedImages:
    """Opens samples as shrunk pictures. `folder` None: nothing is kept."""

    def __init__(self, images: Images, preprocessing: Preprocessing, folder: Path | None) -> None:
        self.images, self.preprocessing, self.folder = images, preprocessing, folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def open(self, sample: Sample) -> Image.Image:
        if self.folder is None:
            return self.preprocessing.resized(self.images.open(sample))
        file = self.folder / f"{sample.sha256}.npy"
        try:
            return Image.fromarray(np.load(file))
        except FileNotFoundError:
            resized = self.preprocessing.resized(self.images.open(sample))
            part = self.folder / f".{uuid.uuid4().hex}.npy"  # several workers may meet the same picture
            np.save(part, np.asarray(resized))
            part.replace(file)
            return resized

    def remove(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def room_for(folder: Path, samples: Sequence[GroupedSample], preprocessing: Preprocessing) -> bool:
    """True when the prepared pictures of `samples` fit on the disk of `folder` with plenty left."""
    sides = (min(preprocessing.short_side_max, min(s.sample.width, s.sample.height)) for s in samples)
    return sum(side * side * ASPECT * 3 for side in sides) < FREE_SHARE * shutil.disk_usage(folder).free


class AugmentedViews(Dataset[tuple[Tensor, float]]):
    """Training views as uint8 [3, size, size] with their targets; normalised later, a batch at a time."""

    def __init__(
        self,
        samples: Sequence[GroupedSample],
        images: PreparedImages,
        augmentation: Augmentation,
        *,
        size: int,
        seed: int,
    ) -> None:
        self.samples, self.images, self.augmentation, self.size, self.seed = (
            list(samples),
            images,
            augmentation,
            size,
            seed,
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, float]:
        sample = self.samples[draw.index].sample
        generator = sample_generator(sample, self.seed, draw.epoch, draw.number)
        storage = self.images.images.storage(sample)
        view = self.augmentation.view(self.images.open(sample), generator, self.size, storage)
        return torch.from_numpy(np.array(view)).permute(2, 0, 1), float(sample.target)
