"""Photographs as an autoencoder gives them back: generated pictures with the content, size and storage of real ones.

What tells a pair apart is the decoder's trace and nothing else, which is why paired data generalise (DRCT, Chen et al.
2024; DDA, Chen et al. 2025). They are learnt from and never measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from trainer.data.images import ImageFolder, sample_generator
from trainer.data.snapshot import Sample
from trainer.data.storage import LOSSLESS, Storage
from trainer.data.types import Floats, GroupedSample
from trainer.models.autoencoder import Autoencoder

PHOTOS_MOST = 400  # that are reconstructed; more cost time and say little more about the decoder
PIXEL_MIX_SHARE, PIXEL_MIX_MOST = 0.2, 0.8  # of pairs, and of the photograph in them (DDA's numbers)
FREQUENCY_MIX_SHARE = 0.2  # of pairs that get the photograph's low frequencies
CUTOFFS = (0.05, 0.3)  # cycles a pixel up to which they do
SHRUNK_MOST = 4.0  # times; a codec's traces are drawn at no larger size than this many times the shrunk one


@dataclass(frozen=True, slots=True)
class Reconstructions:
    """One autoencoder over one data folder."""

    autoencoder: Autoencoder
    images: ImageFolder
    seed: int

    def key(self) -> str:
        """Changes when a reconstruction would: part of the embedding cache's key."""
        return f"reconstruction 2 by {self.autoencoder.digest}, seed {self.seed}"

    def of(self, sample: Sample, resized: Image.Image, size: tuple[int, int]) -> Image.Image:
        """The reconstruction of a photograph of `size` that was `resized`, with the traces of its own file's storage.

        A file is saved first and shrunk later, and so are they: its codec's grid is the photograph's, not the view's.
        """
        made = self.autoencoder.reconstruct(resized)
        mixed = _mixed(resized, made, sample_generator(sample, self.seed))
        return _stored(mixed, self.images.storage(sample), min(size) / min(resized.size))

    def members(self, train: Sequence[GroupedSample]) -> list[GroupedSample]:
        """The photographs of `train` that are reconstructed, labelled as what comes out."""
        photos = [member for member in train if member.sample.target == 0]
        photos.sort(key=lambda member: member.sample.sha256)
        return [self.relabelled(member) for member in photos[:PHOTOS_MOST]]

    def relabelled(self, photo: GroupedSample) -> GroupedSample:
        """A photograph, labelled as its reconstruction: generated, by this autoencoder."""
        generator = f"reconstruction by {self.autoencoder.name}"
        return replace(photo, sample=replace(photo.sample, label="ai_generated", generator=generator))


def _stored(image: Image.Image, storage: Storage, shrunk: float) -> Image.Image:
    """As if the picture had been saved at `shrunk` times its size.

    Only what the codec changed is added: enlarging and shrinking would smooth it, which no photograph was.
    """
    if shrunk <= 1 or storage.codec == LOSSLESS:
        return storage.saved(image)
    factor = min(shrunk, SHRUNK_MOST)
    large = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    before, after = (
        np.asarray(picture.resize(image.size, Image.Resampling.BICUBIC), dtype=np.int16)
        for picture in (large, storage.saved(large))
    )
    changed = np.asarray(image, dtype=np.int16) + after - before
    return Image.fromarray(np.clip(changed, 0, 255).astype(np.uint8))


def _mixed(photo: Image.Image, made: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Now and then a mixture in pixels or in frequencies, so that a faint trace is learnt too."""
    chance = generator.random()
    if chance >= PIXEL_MIX_SHARE + FREQUENCY_MIX_SHARE:
        return made
    real, fake = (np.asarray(image, dtype=np.float64) for image in (photo, made))
    if chance < PIXEL_MIX_SHARE:
        share = generator.uniform(0, PIXEL_MIX_MOST)
        mixture = share * real + (1 - share) * fake
    else:
        mixture = _low_of(real, fake, generator.uniform(*CUTOFFS))
    return Image.fromarray(np.clip(np.round(mixture), 0, 255).astype(np.uint8))


def _low_of(low: Floats, high: Floats, cutoff: float) -> Floats:
    """`high` [H, W, 3] with the frequencies of `low` up to `cutoff`."""
    height, width = low.shape[:2]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    is_low = (radius <= cutoff)[..., None]
    spectrum = np.where(is_low, np.fft.rfft2(low, axes=(0, 1)), np.fft.rfft2(high, axes=(0, 1)))
    mixture: Floats = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    return mixture
