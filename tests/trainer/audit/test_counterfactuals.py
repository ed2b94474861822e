"""Whether a model has learnt a shortcut is asked of the model, with the same pictures stored in both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from judging import make_members, silent
from pictures import encoded, scene, stored
from PIL import Image

from trainer.audit.audit import run_audit
from trainer.audit.counterfactuals import Way, ways_of
from trainer.audit.file_properties import UNKNOWN
from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder, sample_generator
from trainer.data.preprocessing import Preprocessing
from trainer.data.types import PARTS, Floats, GroupedSample, Transform
from utils.config.training import Audit as Settings
from utils.config.training import Augmentation as AugmentationSettings

VIEW = Preprocessing(size=64, short_side_max=96, mean=(0.5,) * 3, std=(0.5,) * 3)
COUNT = 64


class PixelScorer:
    """A model whose logit is a number read off the picture as it comes."""

    def __init__(self, folder: Path, read: Callable[[Floats], float]) -> None:
        self._images, self._read = ImageFolder(folder), read

    def logits(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        found = []
        for member in samples:
            image = self._images.open(member.sample)
            shown = transform(image, sample_generator(member.sample, seed)) if transform else image
            found.append(self._read(np.asarray(shown.convert("L"), dtype=np.float64)))
        return np.array(found)

    def embeddings(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        return self.logits(samples, transform, seed)[:, None]


def blocks(pixels: Floats) -> float:
    """Steps across JPEG's grid less the steps within."""
    steps = np.abs(np.diff(pixels, axis=1)).mean(axis=0)
    return float(steps[7::8].mean() - steps[3::8].mean())


def brightness(pixels: Floats) -> float:
    return float(pixels.mean())


def planted(folder: Path) -> list[GroupedSample]:
    """Photos of quality 95 and generated pictures of quality 30, with the same kind of content."""
    members = []
    for number in range(COUNT):
        label = ("real", "ai_generated")[number % 2]
        content = encoded(scene(number, 120, 120), quality=30 if label == "ai_generated" else 95)
        sample = stored(folder, f"{number}.jpg", content, label)
        members.append(GroupedSample(sample, sample.sha256, PARTS[number // 2 % 4]))
    return members


@pytest.mark.parametrize(("read", "learnt"), [(blocks, True), (brightness, False)])
def test_the_model_is_asked_whether_it_has_learnt_what_could_be_learnt(
    tmp_path: Path, read: Callable[[Floats], float], learnt: bool
) -> None:
    members = planted(tmp_path)
    augmentation = Augmentation(AugmentationSettings(), VIEW)
    card = run_audit(members, PixelScorer(tmp_path, read), augmentation, tmp_path, Settings(), silent).to_card()
    shortcut = next(entry for entry in card["shortcuts"] if entry["property"] == "jpeg_quality")
    assert shortcut["learnt"] is learnt
    assert (shortcut["model_auc"]["value"] > 0.9) is learnt
    assert shortcut["meaning"].endswith(": the model has learnt it") is learnt
    assert shortcut["meaning"] in card["warnings"]
    assert shortcut["model_auc"]["n"] == 2 * COUNT / len(PARTS)


def test_the_ways_are_those_in_which_most_of_a_label_come() -> None:
    reals = make_members(6, group_size=1, format="jpeg", width=800, height=600)
    members = [member for member in reals if member.sample.target == 0]
    generated = make_members(6, prefix="g", format="png", width=512, height=512)
    members += [member for member in generated if member.sample.target == 1]
    qualities = np.array([80.0, 90.0, 95.0, UNKNOWN, UNKNOWN, UNKNOWN])
    assert ways_of("format", members, qualities) == (Way("JPEG", 90), Way(None))
    assert ways_of("jpeg_quality", members, qualities) == ways_of("format", members, qualities)
    assert ways_of("image_size", members, qualities) == (Way(short_side=600), Way(short_side=512))
    assert ways_of("exif", members, qualities) is None
    assert ways_of("format", reals, np.full(6, 90.0)) is None


def test_a_way_makes_a_picture_come_that_way() -> None:
    picture, generator = scene(1, 200, 160), np.random.default_rng(0)
    assert Way(short_side=80)(picture, generator).size == (100, 80)
    lossless, coarse = (np.asarray(way(picture, generator), dtype=np.int64) for way in (Way(), Way("JPEG", 30)))
    assert lossless.shape == coarse.shape == (120, 150, 3)
    assert np.abs(lossless - coarse).mean() > 1
    assert Way(None)(Image.new("RGB", (8000, 10)), generator).size[0] == 2048
    assert len({way.cache_key for way in (Way(), Way("JPEG", 30), Way("JPEG", 31), Way(short_side=30))}) == 4
