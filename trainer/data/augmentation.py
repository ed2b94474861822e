"""The augmentation: random re-encoding, rescaling and cropping, drawn the same way for both labels.

Generated pictures come as PNG or WebP of a few sizes, photographs as JPEG of other sizes; a network learns that first
(research: Grommelt et al. 2024, DIRE issue 11). After the augmentation, codec, quality tables, size and aspect say
little. A share stays untouched, in both labels alike, so that clean pictures remain familiar. The ranges follow
OpenFake and Sieve (`docs/training.md`). With storage histories, each view has first been saved once as some picture
of the data is.

Everything after the shrink is done on a crop: as cheap as the network's input is small.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from trainer.data.preprocessing import Preprocessing
from trainer.data.storage import Storage, StorageHistories
from utils.config.training import Augmentation as AugmentationSettings

KERNELS = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
)
GRID = 16  # pixels cut off again after re-encoding, so that the crop does not start on the codec's block grid


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Makes random views of a resized picture; all randomness comes from the generator that is handed in."""

    settings: AugmentationSettings
    preprocessing: Preprocessing
    histories: StorageHistories | None = None

    def key(self) -> str:
        """Changes when a view would: part of the embedding cache's key."""
        text = (
            self.settings.model_dump_json()
            + self.preprocessing.key()
            + (self.histories.key() if self.histories else "")
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def may_stay(self, storage: Storage) -> bool:
        """True where a picture stored like this may be looked at as it is: both labels are stored like that."""
        return self.histories is None or not self.settings.enabled or self.histories.is_common(storage)

    def view(
        self,
        resized: Image.Image,
        rng: np.random.Generator,
        size: int | None = None,
        storage: Storage | None = None,
        *,
        gentle: bool = False,
    ) -> Image.Image:
        """A random RGB view of `size` (none: the serving size) of a picture that `Preprocessing.resized` made.

        `storage`, when known, is how the picture's file is stored. `gentle`: nothing but a storage history, where there
        is one, and the crop.
        """
        size = size or self.preprocessing.size
        untouched = not self.settings.enabled or rng.random() < self.settings.untouched_share or gentle
        history = self.histories.draw(rng) if self.histories else None
        if untouched and history and storage and not self.may_stay(storage):
            region = _random_crop(_at_least(resized, self.preprocessing.size), self.preprocessing.size, rng)
            return self._flipped(_random_crop(history.saved(region), size, rng), rng)
        if untouched:
            return self._flipped(_random_crop(_at_least(resized, self.preprocessing.size), size, rng), rng)
        factor = self._factor(min(resized.size), rng)
        # the part of the picture that fills the view, with a margin for the codec's grid
        region = _random_crop(resized, min(round((size + GRID) / factor), *resized.size), rng)
        if history:
            region = history.saved(region)
        scaled = max(1, round(region.width * factor))
        if scaled != region.width:
            region = region.resize((scaled, scaled), KERNELS[rng.integers(len(KERNELS))])
        for share in (self.settings.recode_share, self.settings.second_recode_share):
            if rng.random() < share:
                region = self._recoded(region, rng)
        return self._flipped(_random_crop(_at_least(region, size), size, rng), rng)

    def _factor(self, short: int, rng: np.random.Generator) -> float:
        """To a short side that is drawn without regard to the picture's own, as far as that enlarges little."""
        if rng.random() >= self.settings.rescale_share:
            return 1.0
        low = self.settings.short_side_min_share * self.preprocessing.size
        target = np.exp(rng.uniform(np.log(low), np.log(self.preprocessing.short_side_max)))
        return float(min(target / short, self.settings.enlarge_max))

    def _recoded(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        quality = int(rng.integers(self.settings.quality_min, self.settings.quality_max + 1))
        buffer = io.BytesIO()
        if rng.random() < self.settings.webp_share:
            image.save(buffer, "WEBP", quality=quality, method=0)
        else:
            image.save(buffer, "JPEG", quality=quality, subsampling=int(rng.choice((0, 2))))
        with Image.open(buffer) as coded:
            return coded.convert("RGB")

    def _flipped(self, view: Image.Image, rng: np.random.Generator) -> Image.Image:
        return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else view


def _at_least(image: Image.Image, size: int) -> Image.Image:
    short = min(image.size)
    if short >= size:
        return image
    return image.resize(
        (round(image.width * size / short), round(image.height * size / short)), Image.Resampling.BICUBIC
    )


def _random_crop(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    left = int(rng.integers(image.width - size + 1))
    top = int(rng.integers(image.height - size + 1))
    return image.crop((left, top, left + size, top + size))
