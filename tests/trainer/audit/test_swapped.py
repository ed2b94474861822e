"""The swapped test: what goes by storage falls when the storage is swapped, what goes by the pixels does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, scene, stored
from PIL import Image
from test_counterfactuals import PixelScorer, blocks, planted

from trainer.audit.counterfactuals import Way
from trainer.audit.statements import learnt_words
from trainer.audit.swapped import swap
from trainer.data.types import Floats, GroupedSample

WAYS = (Way("JPEG", 95), Way("JPEG", 30))


def tinted(folder: Path) -> list[GroupedSample]:
    """A real signal (a brighter picture) beside the shortcut of `planted`."""
    members = []
    for number in range(80):
        label = ("real", "ai_generated")[number % 2]
        pixels = np.asarray(scene(number, 120, 120)).astype(np.int64) // 2 + (100 if label == "ai_generated" else 0)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        sample = stored(folder, f"{number}.jpg", encoded(image, quality=30 if number % 2 else 95), label)
        members.append(GroupedSample(sample, sample.sha256, "test"))
    return members


def brightness(pixels: Floats) -> float:
    return float(pixels.mean())


def test_a_model_of_jpeg_blocks_falls_to_chance(tmp_path: Path) -> None:
    members = [GroupedSample(m.sample, m.group, "test") for m in planted(tmp_path)]
    swapped = swap(WAYS, members, PixelScorer(tmp_path, blocks))
    assert swapped.plain.low > 0.7
    assert swapped.swapped.value < 0.75
    assert swapped.falls_to_chance() or swapped.surely_loses(0.05)
    shortcut = {"property": "jpeg_quality", "learnt": True, "swapped": swapped.to_card()}
    (words,) = learnt_words([shortcut, shortcut | {"property": "format"}])
    assert words.startswith("has learnt JPEG quality and file format: ")


def test_a_model_of_the_pixels_does_not(tmp_path: Path) -> None:
    swapped = swap(WAYS, tinted(tmp_path), PixelScorer(tmp_path, brightness))
    assert swapped.plain.low > 0.9
    assert abs(swapped.loss.value) < 0.05
    assert not swapped.falls_to_chance() and not swapped.surely_loses(0.05)


@pytest.mark.parametrize("read", [blocks, brightness])
def test_too_few_groups_say_so(tmp_path: Path, read: Callable[[Floats], float]) -> None:
    members = [GroupedSample(m.sample, "one", "test") for m in planted(tmp_path)]
    swapped = swap(WAYS, members, PixelScorer(tmp_path, read))
    assert swapped.swapped.value is None and "groups" in swapped.swapped.why
    assert not swapped.falls_to_chance() and not swapped.surely_loses(0.0)
