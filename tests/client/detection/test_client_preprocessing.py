"""The client's own preprocessing gives the trainer's bits, for whatever picture comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from exposr_client import ImageError
from exposr_client.detection.card import View
from exposr_client.detection.loading import GOLDEN_FORMULA, golden_image
from exposr_client.detection.preprocessing import to_array
from trainer.data.preprocessing import STEPS, Preprocessing
from trainer.models import golden as trainer_golden

MODES = ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "YCbCr", "I"]


def make_picture(mode: str, width: int, height: int, seed: int, orientation: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.uint16))
    elif mode == "I":
        image = Image.fromarray(rng.integers(-10, 70_000, (height, width), dtype=np.int32))
    else:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8)).convert(mode)
    if mode == "P" and seed % 2:
        image.info["transparency"] = 3
    image.getexif()[274] = orientation
    return image


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    seed=st.integers(0, 1000),
    orientation=st.integers(1, 8),
    size=st.integers(16, 64),
    extra=st.integers(0, 100),
)
def test_both_make_the_same_bits(
    mode: str, width: int, height: int, seed: int, orientation: int, size: int, extra: int
) -> None:
    view = View(size, size + extra, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (255, 255, 255))
    theirs = Preprocessing(view.size, view.short_side_max, view.mean, view.std, view.background)
    image = make_picture(mode, width, height, seed, orientation)
    assert np.array_equal(to_array(image, view), theirs.to_tensor(image).numpy())


def test_both_know_the_same_steps_and_the_same_golden_pictures() -> None:
    from exposr_client.detection.card import KNOWN_STEPS, Golden

    assert tuple(step.partition(":")[0] for step in STEPS) == KNOWN_STEPS
    assert trainer_golden.FORMULA == GOLDEN_FORMULA
    for case in trainer_golden.CASES:
        ours = golden_image(Golden(GOLDEN_FORMULA, **case, tensor_values={}, logit=0.0))
        theirs = trainer_golden.golden_image(case)
        assert ours.tobytes() == theirs.tobytes()
        assert ours.getexif() == theirs.getexif()


def test_a_line_of_pixels_is_refused_before_it_is_blown_up() -> None:
    view = View(224, 320, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (255, 255, 255))
    with pytest.raises(ImageError, match="narrow"):
        to_array(Image.new("RGB", (50_000, 1)), view)


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (1, 1)])
def test_extreme_shapes_give_a_full_view(size: tuple[int, int]) -> None:
    view = View(32, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (255, 255, 255))
    assert to_array(Image.new("RGB", size), view).shape == (3, 32, 32)
