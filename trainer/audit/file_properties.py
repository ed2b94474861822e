"""What a file gives away without its content: the properties that the metadata probe is allowed to see.

Before the augmentation they are read from the file as it lies; after it, from the view that the model is trained on,
saved once more: what is left of size, codec and quality in the pixels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data.augmentation import Augmentation
from trainer.data.preprocessing import Preprocessing, open_image
from trainer.data.snapshot import Sample
from trainer.data.storage import jpeg_facts
from trainer.data.types import Floats
from trainer.models.embedding_cache import Embedding, EmbeddingCache, space_name
from utils.images.decoding.kinds import KINDS

UNKNOWN = -1.0  # trees split it off
RESAVE_QUALITY = 90
THUMBNAIL_VALUES = 32 * 32 * 3
VIEW_RECIPE = "audit 1: size, bits per pixel, blocks, thumbnail of one augmented view"
JPEG_BLOCK = 8


@dataclass(frozen=True, slots=True)
class Properties:
    """Columns of numbers by property; a property may need several columns."""

    columns: dict[str, Floats]  # property -> [n, columns]

    def table(self) -> Floats:
        return np.hstack(list(self.columns.values()))


def file_properties(samples: list[Sample], folder: Path) -> Properties:
    """As the files lie; a file that has gone since keeps what the snapshot says of it."""
    width = np.array([float(sample.width) for sample in samples])
    height = np.array([float(sample.height) for sample in samples])
    bits = np.array([8.0 * sample.size_bytes for sample in samples])
    return Properties(
        {
            "format": np.array([[float(sample.format == name) for name in KINDS] for sample in samples]),
            "jpeg_quality": _column(
                [jpeg_quality(folder / sample.path) if sample.format == "jpeg" else UNKNOWN for sample in samples]
            ),
            "image_size": np.stack([width, height, width * height], axis=1),
            "aspect": _column((width / height).tolist()),
            "exif": _column([float(sample.has_exif) for sample in samples]),
            "bits_per_pixel": _column((bits / (width * height)).tolist()),
        }
    )


def view_properties(
    samples: list[Sample],
    folder: Path,
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    seed: int,
    cache: EmbeddingCache | None = None,
) -> tuple[Properties, Floats, list[int]]:
    """After the augmentation: the same properties of one training view each, its 32-pixel thumbnail [n, 3072], and the
    indices of the samples whose files could be read. With a cache, pictures that an earlier training met are not
    opened."""
    space = space_name(VIEW_RECIPE, augmentation.key(), seed)
    known = cache.find(space, [sample.sha256 for sample in samples]) if cache else {}
    fresh: dict[str, Embedding] = {}
    read: list[int] = []
    for index, sample in enumerate(samples):
        if sample.sha256 not in known:
            try:
                resized = preprocessing.resized(open_image(folder / sample.path))
            except (OSError, ValueError):
                continue  # deleted or damaged since the snapshot: the audit looks at the others
            rng = np.random.default_rng([seed, int(sample.sha256[:8], 16)])
            fresh[sample.sha256] = _described(augmentation.view(resized, rng))
        read.append(index)
    if cache and fresh:
        cache.add(space, fresh)
    found = known | fresh
    rows = np.array([found[samples[index].sha256][0] for index in read], dtype=np.float64)
    rows = rows.reshape(len(read), 4 + THUMBNAIL_VALUES)
    table, thumbnails = rows[:, :4], rows[:, 4:]
    constant = np.zeros((len(read), 1))
    columns = {
        "format": constant,  # every view is saved the same way, without metadata
        "jpeg_quality": table[:, 3:4],
        "image_size": table[:, :2],
        "aspect": table[:, :1] / np.maximum(table[:, 1:2], 1),
        "exif": constant,
        "bits_per_pixel": table[:, 2:3],
    }
    return Properties(columns), thumbnails, read


def _described(view: Image.Image) -> Embedding:
    """float32 [1, 4 + 3072]: width, height, bits per pixel when saved once more, blocks; then the thumbnail."""
    buffer = io.BytesIO()
    view.save(buffer, "JPEG", quality=RESAVE_QUALITY)
    bits = 8 * buffer.tell() / (view.width * view.height)
    row = np.concatenate([[view.width, view.height, bits, _blocks(view)], thumbnail(view)])
    return row.astype(np.float32)[None, :]


def jpeg_quality(path: Path) -> float:
    """The quality that scales the standard luminance table to the file's mean; -1 for anything but a JPEG."""
    found = jpeg_facts(path)
    return found[0] if found else UNKNOWN


def thumbnail(view: Image.Image, side: int = 32) -> Floats:
    """Content without detail: what a small picture of the picture shows."""
    small = view.resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64).reshape(-1) / 255


def _blocks(view: Image.Image) -> float:
    """How much brighter the steps across JPEG's 8-pixel grid are than the others, over all grid positions."""
    grey = np.asarray(view.convert("L"), dtype=np.float64)
    strengths = []
    for steps in (np.abs(np.diff(grey, axis=0)).mean(axis=1), np.abs(np.diff(grey, axis=1)).mean(axis=0)):
        by_phase = np.array([steps[phase::JPEG_BLOCK].mean() for phase in range(JPEG_BLOCK)])
        strengths.append((by_phase.max() + 1e-6) / (np.median(by_phase) + 1e-6))  # a flat view has none: 1
    return float(np.log(np.mean(strengths)))


def _column(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64).reshape(-1, 1)
