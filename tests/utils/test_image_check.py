"""The check of one file: what passes, and the reason given for everything else."""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from utils.errors import RetryLaterError, SkipItemError
from utils.images.check import check_image
from utils.images.facts import CheckLimits
from utils.images.format import HEAD_BYTES, name_content, sniff_format

LIMITS = CheckLimits(max_file_bytes=2_000_000, min_side=64, max_side=4096, max_pixels=4_000_000)
FORMATS = ("jpeg", "png", "webp", "avif")


def picture(seed: int = 0, size: tuple[int, int] = (320, 240)) -> Image.Image:
    noise = Image.frombytes("RGB", (16, 12), random.Random(seed).randbytes(16 * 12 * 3))
    return noise.resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def reason_for(path: Path, limits: CheckLimits = LIMITS) -> str:
    with pytest.raises(SkipItemError) as caught:
        check_image(path, limits)
    return str(caught.value)


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_picture_of_each_format_passes_whatever_its_name_says(tmp_path: Path, image_format: str) -> None:
    file = tmp_path / "name.gif"
    file.write_bytes(encode(picture(), image_format))
    facts = check_image(file, LIMITS)
    assert (facts.format, facts.width, facts.height, facts.frames) == (image_format, 320, 240, 1)
    assert facts.size_bytes == file.stat().st_size
    assert facts.phash is not None and len(facts.phash) == 16
    assert facts.thumb is not None and len(bytes.fromhex(facts.thumb)) == 8 * 8 * 3


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95, -2])
def test_a_cut_picture_is_refused(tmp_path: Path, image_format: str, kept: float) -> None:
    data = encode(picture(), image_format)
    file = tmp_path / "cut.jpg"
    file.write_bytes(data[: int(kept) if kept < 0 else int(len(data) * kept)])
    assert reason_for(file)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"just words\n", "is text"),
        (b"<html><body>404</body></html>", "an HTML page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"\x00" * 5000, "zeros only"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "a HEIC picture"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41", "video"),
        (b"\xff\xd8\xff\xe0 not a picture", "JPEG"),
        (png_header(50_000, 50_000), "50000 x 50000"),
        (png_header(32, 400), "shorter side"),
        (png_header(4000, 4000), "16.0 megapixels"),
        (b"\xff\xd8\xff" + bytes(2_000_001), "at most 2 MB"),
    ],
)
def test_what_is_no_usable_picture_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "picture.jpg"
    file.write_bytes(content)
    assert reason in reason_for(file)


@pytest.mark.parametrize("image_format", ["png", "webp", "avif", "gif"])
def test_animations_are_refused(tmp_path: Path, image_format: str) -> None:
    file = tmp_path / "moving"
    file.write_bytes(encode(picture(1), image_format, save_all=True, append_images=[picture(2)], duration=50))
    assert "animation" in reason_for(file) or "GIF" in reason_for(file)


def test_a_photograph_with_previews_behind_it_counts_as_one_picture(tmp_path: Path) -> None:
    file = tmp_path / "phone.jpg"
    file.write_bytes(encode(picture(1), "mpo", save_all=True, append_images=[picture(2, (160, 120))]))
    assert check_image(file, LIMITS).format == "jpeg"


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16"])
def test_every_pixel_layout_gives_a_hash(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "layout.png"
    grey = picture().convert("L")
    image = (
        grey.convert("I").point(lambda level: level * 256).convert("I;16")
        if mode == "I;16"
        else picture().convert(mode)
    )
    file.write_bytes(encode(image, "png"))
    plain = tmp_path / "plain.png"
    plain.write_bytes(encode(grey, "png"))
    assert distance(check_image(file, LIMITS).phash, check_image(plain, LIMITS).phash) <= 6


def test_a_picture_without_detail_has_no_perceptual_hash(tmp_path: Path) -> None:
    file = tmp_path / "flat.png"
    file.write_bytes(encode(Image.new("RGB", (300, 300), "red"), "png"))
    facts = check_image(file, LIMITS)
    assert facts.phash is None and facts.thumb is not None


def test_the_hash_survives_another_format_size_and_orientation_tag(tmp_path: Path) -> None:
    original = picture(3, (900, 600))
    turned = Image.Exif()
    turned[0x0112] = 6  # "turn by 90 degrees to show"
    copies = {
        "a.png": encode(original, "png"),
        "b.jpg": encode(original, "jpeg", quality=60),
        "c.webp": encode(original.resize((450, 300)), "webp"),
        "d.jpg": encode(original.transpose(Image.Transpose.ROTATE_90), "jpeg", exif=turned),
    }
    facts = {}
    for name, data in copies.items():
        (tmp_path / name).write_bytes(data)
        facts[name] = check_image(tmp_path / name, LIMITS)
    assert all(distance(facts["a.png"].phash, other.phash) <= 4 for other in facts.values())
    assert [facts[name].has_exif for name in copies] == [False, False, False, True]


def test_special_files_are_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "folder.jpg").mkdir()
    assert "named pipe" in reason_for(tmp_path / "pipe.jpg")
    assert "symbolic link" in reason_for(tmp_path / "loop.jpg")
    assert "a folder" in reason_for(tmp_path / "folder.jpg")
    assert "a device" in reason_for(Path("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))
        assert "a socket" in reason_for(tmp_path / "socket.jpg")


def test_a_missing_file_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(RetryLaterError, match="No such file"):
        check_image(tmp_path / "gone.jpg", LIMITS)


@given(st.binary(max_size=600))
def test_any_bytes_have_a_format_or_a_name(head: bytes) -> None:
    try:
        assert sniff_format(head[:HEAD_BYTES]) in FORMATS
    except SkipItemError:
        assert name_content(head)


def distance(one: str | None, other: str | None) -> int:
    assert one is not None and other is not None
    return (int(one, 16) ^ int(other, 16)).bit_count()
