"""Has the model learnt a shortcut? The same pictures, as if they had come the way real and generated ones come.

That the label *could* be told from the file format says nothing about the model, and that a probe finds little of it in
augmented views does not clear it: a network sees more than a probe. So the test pictures are stored in both ways, each
way for both labels, and the model's scores are asked to tell the ways apart. 0.5 is a model that does not care.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from trainer.audit.file_properties import UNKNOWN
from trainer.data.types import Floats, GroupedSample, Scorer
from trainer.stats.intervals import Measured
from trainer.stats.predictions import choose, group_codes
from trainer.stats.probes import LEAST_GROUPS, auc_of
from utils.images.decoding.orientation import upright
from utils.images.decoding.pixels import to_rgb

PICTURES = 60
SHRINK = 0.75  # first, so that what a picture came with is mostly gone
SIDE_MAX = 2048  # pixels of the long side, and of the short sides that are compared: no network sees more
CODECS = {"jpeg": "JPEG", "webp": "WEBP"}
USUAL_QUALITY = 90  # where the files do not tell
ENCODING, SIZE = ("format", "jpeg_quality"), ("image_size",)


@dataclass(frozen=True, slots=True)
class Way:
    """A way in which pictures come; as a transform it makes a picture come that way. None keeps what is there."""

    codec: str | None = None  # none: lossless
    quality: int = USUAL_QUALITY
    short_side: int | None = None
    shrink: float = SHRINK

    @property
    def cache_key(self) -> str:
        return f"counterfactual 2: {self}"

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        rgb = to_rgb(upright(image))
        factor = self.short_side / min(rgb.size) if self.short_side else min(self.shrink, SIDE_MAX / max(rgb.size))
        size = max(1, round(rgb.width * factor)), max(1, round(rgb.height * factor))
        rgb = rgb.resize(size, Image.Resampling.LANCZOS) if size != rgb.size else rgb
        if self.codec is None:
            return rgb
        buffer = io.BytesIO()
        rgb.save(buffer, self.codec, quality=self.quality)
        with Image.open(buffer) as coded:
            return coded.convert("RGB")


def ways_of(shortcut: str, samples: Sequence[GroupedSample], jpeg_qualities: Floats) -> tuple[Way, Way] | None:
    """How most real and how most generated pictures come, as far as `shortcut` goes; None where that is the same, or
    no such thing reaches the model. `jpeg_qualities` are those of `samples`, UNKNOWN for anything but a JPEG."""
    targets = np.array([member.sample.target for member in samples])
    if shortcut in ENCODING:
        real, generated = (
            _encoding([member.sample.format for member in samples if member.sample.target == target], of_label)
            for target, of_label in ((0, jpeg_qualities[targets == 0]), (1, jpeg_qualities[targets == 1]))
        )
    elif shortcut in SIZE:
        short_sides = np.array([min(member.sample.width, member.sample.height) for member in samples])
        real, generated = (
            Way(short_side=min(SIDE_MAX, round(float(np.median(short_sides[targets == target]))))) for target in (0, 1)
        )
    else:
        return None
    return None if real == generated else (real, generated)


def told_apart(ways: tuple[Way, Way], samples: Sequence[GroupedSample], scorer: Scorer) -> Measured:
    """The AUC of the model's scores at telling the second way from the first, over the test split of `samples`."""
    chosen = choose([member for member in samples if member.part == "test"], PICTURES)
    groups = np.tile(group_codes([member.group for member in chosen]), 2)
    is_second = np.repeat(np.array([0, 1], dtype=np.int64), len(chosen))
    enough = len(np.unique(groups)) >= LEAST_GROUPS
    return auc_of(np.concatenate([scorer.logits(chosen, way) for way in ways]) if enough else None, is_second, groups)


def _encoding(formats: Sequence[str], qualities: Floats) -> Way:
    usual = Counter(formats).most_common(1)[0][0]
    known = qualities[qualities != UNKNOWN]
    quality = round(float(np.median(known))) if usual == "jpeg" and len(known) else USUAL_QUALITY
    return Way(CODECS.get(usual), quality)
