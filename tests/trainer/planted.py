"""Planted shortcuts: pictures whose content knows nothing of the label, which only one accident of the file carries."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pictures import encoded, scene, stored
from PIL import Image

from trainer.data.snapshot import Sample
from utils.metadata import LABELS, Label

MASTER = 256  # side of the pictures before anything is planted (pixels)
CAMERA_TAGS = {271: "Maker", 272: "Model X", 306: "2026:01:01 12:00:00", 36867: "2026:01:01 12:00:00"}


def _with_exif(image: Image.Image, seed: int) -> bytes:
    exif = Image.Exif()
    for tag, text in CAMERA_TAGS.items():
        exif[tag] = f"{text} {seed}"
    return encoded(image, quality=90, exif=exif)


def _resized(image: Image.Image, side: int) -> bytes:
    return encoded(image.resize((side, side), Image.Resampling.LANCZOS), quality=90)


# for each shortcut, the file that says "real" and the one that says "ai_generated"
VARIANTS: dict[str, tuple[Callable[[Image.Image, int], bytes], Callable[[Image.Image, int], bytes]]] = {
    "format": (lambda image, _: encoded(image, quality=90), lambda image, _: encoded(image, "PNG")),
    "jpeg_quality": (lambda image, _: encoded(image, quality=95), lambda image, _: encoded(image, quality=60)),
    "size": (lambda image, _: _resized(image, 240), lambda image, _: _resized(image, 176)),
    "exif": (_with_exif, lambda image, _: encoded(image, quality=90)),
}


def planted(data: Path, kind: str, count: int, seed: int = 0) -> list[Sample]:
    """`count` pictures of each label, each in its label's variant."""
    samples = []
    for number in range(2 * count):
        label: Label = LABELS[number % 2]
        image = scene(seed * 1_000_003 + number, MASTER, MASTER)
        content = VARIANTS[kind][number % 2](image, number)
        samples.append(stored(data, f"{kind}/{label}/{number}.img", content, label))
    return samples


def counter_balanced(data: Path, kind: str, count: int, seed: int = 1) -> list[Sample]:
    """`count` new pictures, each in both variants, under a label that neither content nor variant knows of."""
    samples = []
    labels: list[Label] = [LABELS[number % 2] for number in range(count)]
    random.Random(seed).shuffle(labels)
    for number, label in enumerate(labels):
        image = scene(seed * 1_000_003 + number, MASTER, MASTER)
        for variant, make in enumerate(VARIANTS[kind]):
            samples.append(stored(data, f"{kind}-test/{number}-{variant}.img", make(image, number), label))
    return samples


def with_copies(data: Path, count: int, seed: int = 0) -> list[Sample]:
    """`count` pictures with a random label each, and two re-encodings of each under the same label."""
    generator = random.Random(seed)
    samples = []
    for number in range(count):
        label = generator.choice(LABELS)
        image = scene(seed * 1_000_003 + number, MASTER, MASTER)
        phash = f"{generator.getrandbits(64):016x}"
        for copy, quality in enumerate((92, 80, 70)):
            content = encoded(image, quality=quality)
            samples.append(stored(data, f"copies/{number}-{copy}.jpg", content, label, phash=phash))
    return samples


def by_creators(data: Path, creators: int, each: int, seed: int = 0) -> list[Sample]:
    """Creators with a cast of colour of their own, each with one label for all their pictures."""
    samples = []
    for creator in range(creators):
        label: Label = LABELS[creator % 2]
        cast = np.random.default_rng([seed, creator]).integers(-60, 60, 3)
        for number in range(each):
            plain = np.asarray(scene(seed * 1_000_003 + creator * each + number, MASTER, MASTER)).astype(np.int64)
            image = Image.fromarray(np.clip(plain // 2 + 64 + cast, 0, 255).astype(np.uint8))
            facts: dict[str, Any] = {"creator": f"creator-{creator}"}
            samples.append(stored(data, f"creators/{creator}/{number}.jpg", encoded(image, quality=90), label, **facts))
    return samples


def targets_of(samples: Sequence[Sample]) -> list[int]:
    return [sample.target for sample in samples]
