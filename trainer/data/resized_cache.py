"""Shrunk pictures kept as plain arrays while a fine-tuning runs, so that each is decoded once and not once an epoch.

Reconstructions of photographs are kept likewise; each comes with its photograph, in the same batch and with the
same draws.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
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
JOINS = 1  # what tells the draw of a pair from that of a view


@dataclass(frozen=True, slots=True)
class KeptPictures:
    """RGB pictures as arrays in a folder, by the sha256 of their sample."""

    folder: Path

    def open(self, sample: Sample) -> Image.Image:
        """Raises FileNotFoundError."""
        return Image.fromarray(np.load(self.folder / f"{sample.sha256}.npy"))

    def has(self, sample: Sample) -> bool:
        return (self.folder / f"{sample.sha256}.npy").is_file()

    def put(self, sample: Sample, picture: Image.Image) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{uuid.uuid4().hex}.npy"  # several processes may meet the same picture
        np.save(part, np.asarray(picture))
        part.replace(self.folder / f"{sample.sha256}.npy")

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class PreparedImages:
    """Opens samples as shrunk pictures. `folder` None: nothing is kept."""

    def __init__(self, images: Images, preprocessing: Preprocessing, folder: Path | None) -> None:
        self.images, self.preprocessing = images, preprocessing
        self._kept = KeptPictures(folder) if folder is not None else None

    def open(self, sample: Sample) -> Image.Image:
        if self._kept is None:
            return self.preprocessing.resized(self.images.open(sample))
        try:
            return self._kept.open(sample)
        except FileNotFoundError:
            resized = self.preprocessing.resized(self.images.open(sample))
            self._kept.put(sample, resized)
            return resized

    def remove(self) -> None:
        if self._kept is not None:
            self._kept.remove()


def room_for(folder: Path, samples: Sequence[GroupedSample], preprocessing: Preprocessing) -> bool:
    """True when the prepared pictures of `samples` fit on the disk of `folder` with plenty left."""
    sides = (min(preprocessing.short_side_max, min(s.sample.width, s.sample.height)) for s in samples)
    return sum(side * side * ASPECT * 3 for side in sides) < FREE_SHARE * shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Pairs:
    """Reconstructions of some photographs: each comes along with its photograph in `share` of the draws (0 to 1)."""

    kept: KeptPictures
    share: float

    def joins(self, sample: Sample, seed: int, draw: Draw) -> bool:
        """The same for the same draw, and independent of how its view is augmented."""
        if sample.target != 0 or not self.kept.has(sample):
            return False
        return bool(sample_generator(sample, seed, draw.epoch, draw.number, JOINS).random() < self.share)


class AugmentedViews(Dataset[tuple[Tensor, Tensor]]):
    """Training views as uint8 [k, 3, size, size] with their targets [k]; normalised later, a batch at a time.

    k is 1, or 2 where a photograph comes with its reconstruction.
    """

    def __init__(
        self,
        samples: Sequence[GroupedSample],
        images: PreparedImages,
        augmentation: Augmentation,
        *,
        size: int,
        seed: int,
        pairs: Pairs | None = None,
        gentle: bool = False,
    ) -> None:
        self.samples, self.images, self.augmentation = list(samples), images, augmentation
        self.size, self.seed, self.pairs, self.gentle = size, seed, pairs, gentle

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        sample = self.samples[draw.index].sample
        pictures, targets = [self.images.open(sample)], [float(sample.target)]
        if self.pairs and self.pairs.joins(sample, self.seed, draw):
            pictures.append(self.pairs.kept.open(sample))
            targets.append(1.0)
        views = [torch.from_numpy(np.array(self._view(sample, picture, draw))) for picture in pictures]
        return torch.stack(views).permute(0, 3, 1, 2), torch.tensor(targets)

    def _view(self, sample: Sample, picture: Image.Image, draw: Draw) -> Image.Image:
        """All randomness depends on the sample's content and the draw, so both of a pair are treated alike."""
        generator = sample_generator(sample, self.seed, draw.epoch, draw.number)
        storage = self.images.images.storage(sample)
        return self.augmentation.view(picture, generator, self.size, storage, gentle=self.gentle)


def together(items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """One batch [n, 3, size, size] with its targets [n]."""
    views, targets = zip(*items, strict=True)
    return torch.cat(views), torch.cat(targets)
