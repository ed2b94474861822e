"""From samples to pictures: where the training reads its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from trainer.data.preprocessing import open_image
from trainer.data.snapshot import Sample
from trainer.data.storage import Storage
from utils.errors import StopRunError

Image.MAX_IMAGE_PIXELS = None  # every picture has passed the intake's own limits

SEED_DIGITS = 16  # hex digits of a sha256 that go into a seed


class Images(Protocol):
    """Where the pictures of samples come from; the same bytes wherever that is."""

    def storage(self, sample: Sample) -> Storage:
        """How the picture's file is stored."""

    def open(self, sample: Sample) -> Image.Image:
        """The decoded picture. Raises StopRunError when it cannot be had any more."""


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The data folder that samples' paths are relative to."""

    folder: Path

    def has(self, sample: Sample) -> bool:
        """The file is still there with the size it had; its bytes are not read."""
        try:
            return (self.folder / sample.path).stat().st_size == sample.size_bytes
        except OSError:
            return False

    def storage(self, sample: Sample) -> Storage:
        """How the picture's file is stored."""
        return Storage.of(self.folder / sample.path, sample)

    def open(self, sample: Sample) -> Image.Image:
        """The decoded picture. Raises StopRunError when the file went away or changed while the training ran."""
        try:
            return open_image(self.folder / sample.path)
        except (OSError, ValueError) as error:
            raise StopRunError(f"{sample.path!r} cannot be read any more: {error}; train again") from error


def sample_generator(sample: Sample, *numbers: int) -> np.random.Generator:
    """Randomness that depends on the sample's content and `numbers` alone: the same in any order, process and rank."""
    return np.random.default_rng([int(sample.sha256[:SEED_DIGITS], 16), *numbers])
