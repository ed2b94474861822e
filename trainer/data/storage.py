"""How pictures are stored (codec, quality, chroma), and storage histories that are drawn without regard to the label.

A detector learns first how its two labels are stored (Grommelt et al. 2024). Each augmented view is therefore saved
once as some picture of the data is, one of either label as often; a view stays as it is only where both labels are
stored like it. Sizes are drawn by the augmentation itself.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainer.data.snapshot import Sample
from utils.files import write_atomically

BAND = 10  # qualities this near count as one
COMMON_SHARE = 0.1  # of either label's pictures, from which on a storage is common to both
SETTLED_DISTANCE = 0.1  # shares that moved less than this in all keep the table of the training before
STANDARD_LUMINANCE_MEAN = 57.625  # of the table that libjpeg scales by quality (ITU T.81, table K.1)
LOSSY_QUALITY = {"webp": 80, "avif": 65, "heif": 65}  # where a file does not say its own
LOSSLESS = "lossless"


@dataclass(frozen=True, slots=True, order=True)
class Storage:
    """`quality` 1 to 100 in bands of BAND, 0 when lossless; `full_chroma`: colour is kept for every pixel."""

    codec: str
    quality: int = 0
    full_chroma: bool = True

    @classmethod
    def of(cls, file: Path | IO[bytes], sample: Sample) -> Storage:
        """As the file says; what it does not say is the codec's usual."""
        if sample.format in LOSSY_QUALITY:
            return cls(sample.format, LOSSY_QUALITY[sample.format], False)
        found = jpeg_facts(file) if sample.format in ("jpeg", "mpo") else None
        if found is None:
            return cls(LOSSLESS)
        return cls("jpeg", int(np.clip(round(found[0] / BAND) * BAND, BAND, 95)), found[1])

    def saved(self, image: Image.Image) -> Image.Image:
        """`image` (RGB) after having been stored like this once; its size stays."""
        if self.codec == LOSSLESS:
            return image
        buffer = io.BytesIO()
        if self.codec == "jpeg":
            image.save(buffer, "JPEG", quality=self.quality, subsampling=0 if self.full_chroma else 2)
        else:
            image.save(buffer, "WEBP" if self.codec == "webp" else "AVIF", quality=self.quality)
        with Image.open(buffer) as stored:
            return stored.convert("RGB")


Shares = Mapping[Storage, float]  # sum 1


@dataclass(frozen=True, slots=True)
class StorageHistories:
    """The storages that occur in the data, with their shares of either label's pictures."""

    shares: tuple[Shares, Shares]  # of real pictures, of generated ones

    @classmethod
    def of(cls, storages: Sequence[Storage], targets: Sequence[int]) -> StorageHistories:
        """Raises ValueError where a label has no picture."""
        found = []
        for label in (0, 1):
            counts = Counter(storage for storage, target in zip(storages, targets, strict=True) if target == label)
            if not counts:
                raise ValueError(f"no picture has the label {label}")
            found.append({storage: count / counts.total() for storage, count in sorted(counts.items())})
        return cls((found[0], found[1]))

    def settled(self, file: Path) -> StorageHistories:
        """The table in `file` while it is still about right, else this one, stored there.

        Cached embeddings depend on the table: a few new pictures must not change it.
        """
        try:
            before = self._parsed(file.read_text(encoding="utf-8"))
            if max(_distance(old, new) for old, new in zip(before.shares, self.shares, strict=True)) < SETTLED_DISTANCE:
                return before
        except (OSError, ValueError, TypeError, KeyError):
            pass  # it is a cache: what cannot be read is made anew
        write_atomically(file, self.key().encode())
        return self

    def is_common(self, storage: Storage) -> bool:
        return all(shares.get(storage, 0) >= COMMON_SHARE for shares in self.shares)

    def draw(self, generator: np.random.Generator) -> Storage:
        """From the storages of either label as often."""
        shares = self.shares[int(generator.integers(2))]
        return list(shares)[int(generator.choice(len(shares), p=list(shares.values())))]

    def key(self) -> str:
        """Says all of it, as JSON."""
        return json.dumps([[[*astuple(storage), share] for storage, share in shares.items()] for shares in self.shares])

    @staticmethod
    def _parsed(text: str) -> StorageHistories:
        real, generated = (
            {Storage(str(codec), int(quality), bool(chroma)): float(share) for codec, quality, chroma, share in rows}
            for rows in json.loads(text)
        )
        return StorageHistories((real, generated))


def _distance(one: Shares, other: Shares) -> float:
    """Total variation, 0 to 1."""
    return sum(abs(one.get(storage, 0) - other.get(storage, 0)) for storage in {*one, *other}) / 2


def jpeg_facts(file: Path | IO[bytes]) -> tuple[float, bool] | None:
    """Quality (the one that scales the standard luminance table to the file's mean) and whether chroma is full.

    None for anything but a JPEG.
    """
    try:
        with Image.open(file) as image:
            tables = getattr(image, "quantization", None)
            layers = getattr(image, "layer", None)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError):
        return None
    if not tables:
        return None
    scale = 100 * float(np.mean(tables[min(tables)])) / STANDARD_LUMINANCE_MEAN
    quality = float(np.clip(5000 / scale if scale > 100 else (200 - scale) / 2, 1, 100))
    full = not layers or all(layer[1:3] == layers[0][1:3] for layer in layers)
    return quality, full
