"""The perceptual hash is the one that everybody computes, and survives what copies go through."""

from __future__ import annotations

import io
import random

import imagehash
import pytest
from PIL import Image

from handlers.index.phash import hamming, is_near
from utils.images.perceptual import perceptual_hash, thumb


def photo(seed: int, side: int = 256) -> Image.Image:
    pixels = Image.frombytes("RGB", (12, 9), random.Random(seed).randbytes(12 * 9 * 3))
    return pixels.resize((side, side * 3 // 4), Image.Resampling.BICUBIC)


def recoded(picture: Image.Image, kind: str, **options: int) -> Image.Image:
    body = io.BytesIO()
    picture.save(body, kind, **options)
    return Image.open(io.BytesIO(body.getvalue())).convert("RGB")


@pytest.mark.parametrize("seed", range(20))
def test_the_hash_is_the_one_of_the_imagehash_package(seed: int) -> None:
    assert perceptual_hash(photo(seed)) == str(imagehash.phash(photo(seed)))


@pytest.mark.parametrize("size", [(240, 130), (131, 131), (40, 33), (20, 15), (700, 300), (600, 600)])
def test_it_is_the_same_at_every_size(size: tuple[int, int]) -> None:
    for seed in range(4):
        picture = photo(seed).resize(size)
        assert perceptual_hash(picture) == str(imagehash.phash(picture))


@pytest.mark.parametrize("size", [(128, 250), (150, 400), (33, 90)])
def test_it_is_nearly_the_same_where_pillow_takes_columns_first(size: tuple[int, int]) -> None:
    for seed in range(4):
        picture = photo(seed).resize(size)
        own = perceptual_hash(picture)
        assert own is not None
        assert hamming(own, str(imagehash.phash(picture))) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_other_quality_and_size_stay_near(seed: int) -> None:
    first = photo(seed)
    for copy in (recoded(first, "JPEG", quality=60), recoded(first, "WEBP", quality=70), first.resize((160, 120))):
        hashes = perceptual_hash(first), perceptual_hash(copy)
        assert hashes[0] is not None and hashes[1] is not None
        assert is_near(hashes[0], hashes[1], bytes.fromhex(thumb(first)), bytes.fromhex(thumb(copy)), 4)
    other = perceptual_hash(photo(seed + 1000))
    assert hashes[0] is not None and other is not None and hamming(hashes[0], other) > 10


def test_a_picture_without_detail_has_no_hash() -> None:
    assert perceptual_hash(Image.new("RGB", (200, 150), "teal")) is None
