"""The check of one file: what passes, and the reason given for everything else."""

from __future__ import annotations

import os
import random
import socket
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from encoded_pictures import encode, noise_picture, spoilt
from utils.errors import CutFileError, RetryLaterError, SkipItemError
from utils.images.check import check_image
from utils.images.decoding.kinds import KINDS
from utils.images.facts import CheckLimits
from utils.images.format import HEAD_BYTES, name_content, recognise, sniff

LIMITS = CheckLimits(max_file_bytes=2_000_000, min_side=64, max_side=4096, max_pixels=4_000_000)
FORMATS = tuple(KINDS)


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
    file = tmp_path / "name.doc"
    file.write_bytes(encode(noise_picture(), image_format))
    facts = check_image(file, LIMITS)
    assert (facts.format, facts.width, facts.height) == (image_format, 320, 240)
    assert facts.extension == KINDS[image_format].extension and facts.note is None
    assert facts.size_bytes == file.stat().st_size
    assert facts.phash is not None and len(facts.phash) == 16
    assert facts.thumb is not None and len(bytes.fromhex(facts.thumb)) == 4 * 4 * 3


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95, -3])
def test_a_cut_picture_is_refused(tmp_path: Path, image_format: str, kept: float) -> None:
    data = encode(noise_picture(), image_format)
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
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC, but its header is broken"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "a raw camera picture; develop it"),
        (b"FUJIFILMCCD-RAW 0201", "a raw camera picture; develop it"),
        (b"8BPS\x00\x01", "a Photoshop file; export it as PNG"),
        (b"%PDF-1.7", "pdfimages"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41", "video; save a frame"),
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
    moving = {"save_all": True, "append_images": [noise_picture(2)], "duration": 50}
    file.write_bytes(encode(noise_picture(1), image_format, **moving))
    assert "animation (2 frames); single pictures are used: save one" in reason_for(file)


def test_a_document_of_pages_is_refused_and_a_preview_is_no_page(tmp_path: Path) -> None:
    file = tmp_path / "scan.tif"
    file.write_bytes(encode(noise_picture(1), "tiff", save_all=True, append_images=[noise_picture(2)]))
    assert "has 2 pages; single pictures are used" in reason_for(file)
    preview = noise_picture(2, (64, 48))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    file.write_bytes(encode(noise_picture(1), "tiff", save_all=True, append_images=[preview]))
    assert check_image(file, LIMITS).format == "tiff"


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {262: 32803}])
def test_sensor_data_in_a_tiff_file_is_no_picture_of_ours(tmp_path: Path, tags: dict[int, object]) -> None:
    file = tmp_path / "raw.dng"
    file.write_bytes(encode(noise_picture(), "tiff", tiffinfo=tags))
    if 262 in tags:  # Pillow writes its own
        data = bytearray(file.read_bytes())
        entry = data.index(struct.pack("<HHI", 262, 3, 1))
        data[entry + 8 : entry + 10] = struct.pack("<H", 32803)
        file.write_bytes(data)
    assert "raw camera picture; develop it" in reason_for(file)


@pytest.mark.parametrize("order", [">", "<"])
def test_16_bit_grey_passes_in_either_byte_order(tmp_path: Path, order: str) -> None:
    """Uncompressed TIFF written by hand: Pillow writes only the machine's own order."""
    size, grey = (64, 80), noise_picture(0, (64, 80)).convert("L")
    mark = b"MM\0*" if order == ">" else b"II*\0"
    values = b"".join(struct.pack(f"{order}H", 257 * level) for level in grey.tobytes())
    tags = [(256, size[0]), (257, size[1]), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, size[1])]
    tags.append((279, len(values)))
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags]
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(entries) + bytes(4)
    file = tmp_path / "scan.tif"
    file.write_bytes(mark + struct.pack(f"{order}I", 8 + len(values)) + values + directory)
    plain = tmp_path / "plain.png"
    plain.write_bytes(encode(grey, "png"))
    assert check_image(file, LIMITS).phash == check_image(plain, LIMITS).phash


def test_pixels_of_32_bits_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "science.tif"
    file.write_bytes(encode(noise_picture().convert("F"), "tiff"))
    assert "32-bit pixels" in reason_for(file)


@pytest.mark.parametrize("name", spoilt())
def test_side_data_does_not_sink_a_sound_picture(tmp_path: Path, name: str) -> None:
    file = tmp_path / "picture"
    file.write_bytes(spoilt()[name])
    facts = check_image(file, replace(LIMITS, max_file_bytes=10_000_000))
    assert {facts.width, facts.height} == {320, 240}
    if "inner" not in name and "AVIF" not in name:
        assert facts.note is not None and "left out" in facts.note
    assert facts.phash is not None


@pytest.mark.parametrize(
    ("name", "head", "command"),
    [
        ("my photos.zip", b"PK\x03\x04", "unzip -n '{0}/my photos.zip' -d '{0}/my photos'"),
        ("a.tar", bytes(257) + b"ustar\0", "mkdir -p {0}/a && tar -xf {0}/a.tar -C {0}/a"),
        ("a.tar.gz", b"\x1f\x8b", "mkdir -p {0}/a && tar -xf {0}/a.tar.gz -C {0}/a"),
        ("a.jpg.gz", b"\x1f\x8b", "gunzip -k {0}/a.jpg.gz"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "7z x {0}/a.7z -o{0}/a"),
        ("no_suffix", b"PK\x03\x04", "unzip -n {0}/no_suffix -d '{0}/no_suffix unpacked'"),
    ],
)
@pytest.mark.parametrize("size", [4000, 3_000_000])
def test_an_archive_is_named_with_the_command_that_unpacks_it(
    tmp_path: Path, name: str, head: bytes, command: str, size: int
) -> None:
    file = tmp_path / name
    file.write_bytes(head.ljust(size, b"x"))
    assert reason_for(file).endswith(f"once it is unpacked: {command.format(tmp_path)}")


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_file_that_ends_too_early_may_still_be_arriving(tmp_path: Path, image_format: str) -> None:
    size = (400, 300)
    noise = Image.frombytes("RGB", size, random.Random(0).randbytes(size[0] * size[1] * 3))  # long in every format
    data = encode(noise, image_format)
    half = data[: len(data) // 2]
    cases = [b"", half, half.ljust(len(data), b"\0")]  # the last one reserved its size before it arrived
    for content in cases[:2] if image_format in ("bmp", "tiff") else cases:  # there, zeros are black pixels
        file = tmp_path / "arriving"
        file.write_bytes(content)
        with pytest.raises(CutFileError):
            check_image(file, LIMITS)


def test_a_damaged_file_that_is_complete_is_not_waited_for(tmp_path: Path) -> None:
    data = bytearray(encode(noise_picture(), "png"))
    data[60:64] = b"oops"
    file = tmp_path / "damaged.png"
    file.write_bytes(data)
    with pytest.raises(SkipItemError) as caught:
        check_image(file, LIMITS)
    assert not isinstance(caught.value, CutFileError)


def test_a_photograph_with_previews_behind_it_counts_as_one_noise_picture(tmp_path: Path) -> None:
    file = tmp_path / "phone.jpg"
    file.write_bytes(encode(noise_picture(1), "mpo", save_all=True, append_images=[noise_picture(2, (160, 120))]))
    assert check_image(file, LIMITS).format == "jpeg"


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16"])
def test_every_pixel_layout_gives_a_hash(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "layout.png"
    grey = noise_picture().convert("L")
    image = (
        grey.convert("I").point(lambda level: level * 256).convert("I;16")
        if mode == "I;16"
        else noise_picture().convert(mode)
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
    original = noise_picture(3, (900, 600))
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
    assert sniff(head[:HEAD_BYTES]) in FORMATS or str(recognise(head, Path("a file")))
    assert name_content(head)


def distance(one: str | None, other: str | None) -> int:
    assert one is not None and other is not None
    return (int(one, 16) ^ int(other, 16)).bit_count()
