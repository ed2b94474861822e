"""Thumbnails are drawn by the confined checkers, from the very bytes that were asked for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from encoded_pictures import noise_picture
from utils.images.check_pool import CheckFailure, CheckLimits, CheckPool
from utils.images.facts import Thumbnail

LIMITS = CheckLimits(max_file_bytes=1_000_000, min_side=8, max_side=4000, max_pixels=4_000_000)


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckPool]:
    with CheckPool(1, LIMITS, 30, 1536) as pool:
        yield pool


def draw(pool: CheckPool, file: Path, side: int = 64, sha256: str = "") -> bytes | CheckFailure:
    digest = sha256 or hashlib.sha256(file.read_bytes()).hexdigest()
    return pool.draw(file, Thumbnail(digest, side)).result()


def size_of(drawn: bytes | CheckFailure) -> tuple[int, int]:
    assert isinstance(drawn, bytes), drawn
    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.format == "WEBP"
        return picture.size


def test_the_longer_side_is_bounded_and_small_pictures_are_not_enlarged(pool: CheckPool, tmp_path: Path) -> None:
    noise_picture(0, (400, 200)).save(tmp_path / "wide.jpg")
    noise_picture(0, (40, 30)).save(tmp_path / "small.png")
    assert size_of(draw(pool, tmp_path / "wide.jpg")) == (64, 32)
    assert size_of(draw(pool, tmp_path / "small.png")) == (40, 30)


def test_it_stands_upright_and_carries_nothing_of_the_files_metadata(pool: CheckPool, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    exif[0x010E] = "a secret place"
    noise_picture(0, (200, 100)).save(tmp_path / "turned.jpg", exif=exif)
    drawn = draw(pool, tmp_path / "turned.jpg")
    assert size_of(drawn) == (32, 64)
    assert isinstance(drawn, bytes)
    assert b"secret" not in drawn
    assert b"EXIF" not in drawn


def test_transparent_parts_are_white(pool: CheckPool, tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    drawn = draw(pool, tmp_path / "clear.png")
    assert isinstance(drawn, bytes)
    with Image.open(io.BytesIO(drawn)) as picture:
        assert min(picture.convert("RGB").getpixel((16, 16))) > 250  # type: ignore[type-var]


def test_other_bytes_than_were_asked_for_are_not_drawn(pool: CheckPool, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    noise_picture(0, (40, 30)).save(file)
    refused = draw(pool, file, sha256="0" * 64)
    assert isinstance(refused, CheckFailure)
    assert "other bytes" in refused.reason


@pytest.mark.parametrize("content", [b"<html><script>alert(1)</script>", b"\xff\xd8\xff\xe0broken", b""])
def test_what_is_no_picture_is_refused_and_the_checker_goes_on(pool: CheckPool, tmp_path: Path, content: bytes) -> None:
    bad, good = tmp_path / "bad.jpg", tmp_path / "good.png"
    bad.write_bytes(content)
    noise_picture(0, (40, 30)).save(good)
    assert isinstance(draw(pool, bad), CheckFailure)
    assert size_of(draw(pool, good)) == (40, 30)
