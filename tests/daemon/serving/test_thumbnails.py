"""Thumbnails are kept by content, and never take more of the disk than they may."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from daemon.serving.thumbnails import Thumbnails
from encoded_pictures import WORKFLOW, encode, noise_picture, png_chunk, with_chunks
from utils.images.check_pool import CheckLimits, CheckPool
from utils.images.facts import CheckFailure, Thumbnail

LIMITS = CheckLimits(max_file_bytes=1_000_000, min_side=8, max_side=4000, max_pixels=4_000_000)


class CountingPool(CheckPool):
    drawn = 0

    def draw(self, path, thumbnail: Thumbnail):  # type: ignore[no-untyped-def]
        self.drawn += 1
        return super().draw(path, thumbnail)


@pytest.fixture(scope="module")
def pool() -> Iterator[CountingPool]:
    with CountingPool(1, LIMITS, 30, 1536) as pool:
        yield pool


def picture(folder: Path, seed: int) -> tuple[str, Path]:
    file = folder / f"{seed}.png"
    noise_picture(seed, (80 + seed, 60)).save(file)
    return hashlib.sha256(file.read_bytes()).hexdigest(), file


def test_it_is_drawn_once_for_all_who_ask_and_kept(tmp_path: Path, pool: CountingPool) -> None:
    sha256, file = picture(tmp_path, 1)
    thumbnails = Thumbnails(tmp_path / "kept", 1_000_000, pool, {sha256: file}.get)
    before = pool.drawn

    async def ask() -> list[bytes | None]:
        first = await asyncio.gather(*(thumbnails.get(sha256, "small") for _ in range(5)))
        return [*first, await thumbnails.get(sha256, "small")]

    answers = asyncio.run(ask())
    assert len(set(answers)) == 1
    assert answers[0] is not None
    assert pool.drawn == before + 1


def test_what_is_not_there_or_cannot_be_drawn_is_none(tmp_path: Path, pool: CountingPool) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("<script>")
    digest = hashlib.sha256(bad.read_bytes()).hexdigest()
    thumbnails = Thumbnails(tmp_path / "kept", 1_000_000, pool, {digest: bad}.get)
    assert asyncio.run(thumbnails.get(digest, "small")) is None
    assert asyncio.run(thumbnails.get("0" * 64, "large")) is None
    assert not list((tmp_path / "kept").rglob("*.webp"))


def test_of_a_picture_that_is_gone_nothing_is_shown_any_more(tmp_path: Path, pool: CountingPool) -> None:
    sha256, file = picture(tmp_path, 9)
    known = {sha256: file}
    thumbnails = Thumbnails(tmp_path / "kept", 1_000_000, pool, known.get)
    assert asyncio.run(thumbnails.get(sha256, "small")) is not None
    del known[sha256]
    assert asyncio.run(thumbnails.get(sha256, "small")) is None


def test_the_least_lately_seen_go_when_the_limit_is_reached(tmp_path: Path, pool: CountingPool) -> None:
    known = dict(picture(tmp_path, seed) for seed in range(6))
    kept = tmp_path / "kept"
    sizes = []
    for sha256, file in known.items():
        drawn = pool.draw(file, Thumbnail(sha256, 256)).result()
        assert not isinstance(drawn, CheckFailure)
        sizes.append(len(drawn))
    limit = sum(sizes[:5])
    thumbnails = Thumbnails(kept, limit, pool, known.get)
    first, *_ = known
    for number, sha256 in enumerate(known):
        asyncio.run(thumbnails.get(sha256, "small"))
        for place, file in enumerate(sorted(kept.rglob("*.webp"))):
            if first not in file.name:
                os.utime(file, (1000 + number + place, 1000 + number + place))
    left = list(kept.rglob("*.webp"))
    assert sum(file.stat().st_size for file in left) <= limit
    assert any(first in file.name for file in left)


@pytest.mark.parametrize(
    "content",
    [
        encode(noise_picture(), "heif"),
        encode(noise_picture(), "tiff"),
        encode(noise_picture().quantize(16), "gif"),
        with_chunks(encode(noise_picture(), "png"), png_chunk(b"zTXt", WORKFLOW)),
        encode(noise_picture(), "webp", icc_profile=bytes(500_000)),
    ],
    ids=["HEIC", "TIFF", "GIF", "PNG with a large text", "WebP with a large profile"],
)
def test_a_picture_of_any_format_is_drawn_without_its_side_data(
    tmp_path: Path, pool: CountingPool, content: bytes
) -> None:
    file = tmp_path / "picture"
    file.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    drawn = asyncio.run(Thumbnails(tmp_path / "kept", 1_000_000, pool, {sha256: file}.get).get(sha256, "small"))
    assert drawn is not None and len(drawn) < 30_000
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.format == "WEBP" and image.width > image.height
