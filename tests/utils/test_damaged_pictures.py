"""Five hundred damaged files of the formats that people drop: each is accepted or refused, in time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from child_processes import running_children
from encoded_pictures import encode, noise_picture
from utils.images.check_pool import CheckLimits, CheckPool
from utils.images.facts import CheckFailure, ImageFacts

FILES = 500
LIMITS = CheckLimits(max_file_bytes=2_000_000, min_side=16, max_side=2000, max_pixels=1_000_000)
TIMEOUT_SECONDS = 15.0
MEMORY_MB = 1024
KINDS = ("heif", "tiff", "bmp", "gif", "jp2", "jxl")
TIFF_CODECS = (None, "tiff_lzw", "tiff_deflate", "jpeg", "packbits")

Damage = Callable[[bytearray, random.Random], bytes]


def cut(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def scattered(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def headers(data: bytearray, rng: random.Random) -> bytes:
    """Extreme values where sizes, counts and offsets are."""
    for _ in range(rng.randrange(1, 5)):
        start = rng.randrange(min(len(data), 300) - 4)
        data[start : start + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", rng.randbytes(4)])
    return bytes(data)


def missing(data: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 200)]
    return bytes(data)


def inserted(data: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.randrange(1, 200))
    return bytes(data)


DAMAGES: tuple[Damage, ...] = (cut, scattered, headers, missing, inserted)


def sources() -> dict[str, list[bytes]]:
    image = noise_picture(3, (96, 64))
    rgba = image.convert("RGBA")
    rgba.putalpha(image.getchannel("G"))
    found = {kind: [encode(image, kind)] for kind in KINDS}
    found["tiff"] = [encode(image, "tiff", compression=codec) for codec in TIFF_CODECS]
    for kind in ("heif", "jp2", "jxl", "tiff"):
        found[kind] += [encode(image.convert("L"), kind), encode(rgba, kind)]
    return found


@pytest.mark.timeout(300)
def test_every_damaged_file_is_accepted_or_refused_and_no_checker_outlives_its_limits(tmp_path: Path) -> None:
    rng = random.Random(20261127)
    by_kind = sources()
    others = running_children("utils.images.check_worker")
    verdicts: Counter[str] = Counter()
    with CheckPool(2, LIMITS, TIMEOUT_SECONDS, MEMORY_MB) as pool:
        pending = []
        for number in range(FILES):
            kind, damage = KINDS[number % len(KINDS)], DAMAGES[number % len(DAMAGES)]
            file = tmp_path / f"{number}-{kind}-{damage.__name__}"
            file.write_bytes(damage(bytearray(rng.choice(by_kind[kind])), rng))
            pending.append((file, pool.submit(file)))
        for file, future in pending:
            result = future.result(timeout=200)
            if isinstance(result, CheckFailure):
                assert result.reason and not result.retryable, file.name
                assert "could not be checked within" not in result.reason, file.name
            else:
                assert isinstance(result, ImageFacts)
                assert result.width * result.height <= LIMITS.max_pixels
            verdicts["refused" if isinstance(result, CheckFailure) else "accepted"] += 1
        for child in running_children("utils.images.check_worker"):
            if child not in others:
                assert child.rlimit(psutil.RLIMIT_AS)[1] == MEMORY_MB << 20
    assert sum(verdicts.values()) == FILES and min(verdicts["accepted"], verdicts["refused"]) > 20
    assert set(running_children("utils.images.check_worker")) <= set(others)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_beyond_the_limits_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "wide"
    file.write_bytes(encode(Image.new("RGB", (2100, 40)), kind))
    with CheckPool(1, LIMITS, TIMEOUT_SECONDS, MEMORY_MB) as pool:
        result = pool.submit(file).result()
    assert isinstance(result, CheckFailure) and "the longer side may have at most 2000" in result.reason
