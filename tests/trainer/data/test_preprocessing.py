"""The serving view and the augmentation: what a model sees of a picture."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, scene
from PIL import Image
from torch import nn

from trainer.data.augmentation import Augmentation
from trainer.data.preprocessing import Preprocessing
from trainer.models.golden import CASES, golden_differences, golden_image, record_golden
from utils.config.training import Augmentation as AugmentationSettings
from utils.images.decoding.pixels import to_rgb

VIEW = Preprocessing(64, 96, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Mean(nn.Module):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.mean(dim=(1, 2, 3), keepdim=False)[:, None]


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 400), height=st.integers(1, 400), mode=st.sampled_from(["RGB", "L", "RGBA", "P", "CMYK", "1"])
)
def test_any_picture_becomes_one_square_tensor(width: int, height: int, mode: str) -> None:
    tensor = VIEW.to_tensor(Image.new(mode, (width, height)))
    assert tensor.shape == (3, 64, 64)
    assert tensor.dtype == torch.float32
    assert torch.isfinite(tensor).all()


def test_the_card_makes_the_same_view_again() -> None:
    again = Preprocessing.from_card(VIEW.as_card())
    assert again == VIEW
    assert again.key() == VIEW.key()
    image = scene(1, 201, 133)
    assert torch.equal(again.to_tensor(image), VIEW.to_tensor(image))
    with pytest.raises(ValueError, match="does not know"):
        Preprocessing.from_card({**VIEW.as_card(), "resample": "nearest"})


def test_a_picture_within_the_limits_keeps_its_pixels() -> None:
    image = scene(2, 90, 80)
    view = np.asarray(VIEW.view(image))
    assert np.array_equal(view, np.asarray(image)[8:72, 13:77])


def test_orientation_and_format_do_not_reach_the_model() -> None:
    image = scene(3, 80, 72)
    exif = Image.Exif()
    exif[274] = 6
    turned = image.transpose(Image.Transpose.ROTATE_90)  # shown upright again by orientation 6
    files = [encoded(image, "PNG"), encoded(turned, "PNG", exif=exif), encoded(image, "WEBP", lossless=True)]
    tensors = [VIEW.to_tensor(Image.open(io.BytesIO(file))) for file in files]
    assert all(torch.equal(tensor, tensors[0]) for tensor in tensors)


def test_transparency_shows_white_and_deep_grey_keeps_its_shades() -> None:
    assert to_rgb(Image.new("RGBA", (2, 2), (9, 9, 9, 0))).getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    assert [to_rgb(deep).getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (100,) * 3, (255,) * 3]


def test_golden_vectors_notice_another_view_and_another_model() -> None:
    records = record_golden(VIEW, Mean())
    assert len(records) == len(CASES)
    assert golden_differences(records, VIEW, Mean()) == []
    other = Preprocessing(64, 90, VIEW.mean, VIEW.std)
    assert golden_differences(records, other, Mean())
    tensor = VIEW.to_tensor(golden_image(CASES[0]))
    assert records[0]["tensor_sha256"] == hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def augmented(image: Image.Image, count: int = 200, **changes: object) -> list[Image.Image]:
    augmentation = Augmentation(AugmentationSettings(**changes), VIEW)  # type: ignore[arg-type]
    return [augmentation.view(VIEW.resized(image), np.random.default_rng(seed)) for seed in range(count)]


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 300), height=st.integers(1, 300), seed=st.integers(0, 2**32), size=st.sampled_from([32, 64])
)
def test_any_picture_can_be_augmented_to_any_size(width: int, height: int, seed: int, size: int) -> None:
    image = VIEW.resized(Image.new("RGB", (width, height)))
    assert Augmentation(AugmentationSettings(), VIEW).view(image, np.random.default_rng(seed), size).size == (
        size,
        size,
    )


def test_an_augmented_view_depends_on_its_generator_alone() -> None:
    image = scene(4, 120, 100)
    first, second = augmented(image, 20), augmented(image, 20)
    assert [np.asarray(view).tobytes() for view in first] == [np.asarray(view).tobytes() for view in second]
    assert len({np.asarray(view).tobytes() for view in first}) == 20


def test_the_untouched_share_is_untouched() -> None:
    image = scene(5, 64, 64)
    plain = {image.tobytes(), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()}
    shares = {
        share: np.mean([view.tobytes() in plain for view in augmented(image, untouched_share=share)])
        for share in (0, 0.5, 1)
    }
    assert shares[0] < 0.1  # rescaled by 1 and not re-encoded, now and then
    assert 0.4 < shares[0.5] < 0.65
    assert shares[1] == 1
    assert all(view.tobytes() in plain for view in augmented(image, 20, enabled=False))


def test_every_augmentation_setting_changes_the_cache_key() -> None:
    plain = Augmentation(AugmentationSettings(), VIEW).key()
    for name, value in AugmentationSettings().model_dump().items():
        other = (not value) if isinstance(value, bool) else value * 0.99 if isinstance(value, float) else value - 1
        assert (
            Augmentation(
                AugmentationSettings(**{name: max(1.0, other) if name == "enlarge_max" else other}), VIEW
            ).key()
            != plain
        ), name
