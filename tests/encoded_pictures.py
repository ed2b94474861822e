"""Pictures of every format that is read, and side data to spoil them with."""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib
from typing import Any

import pillow_heif
import pillow_jxl  # noqa: F401  registers itself
from PIL import Image

from utils.images.decoding.kinds import KINDS

pillow_heif.register_heif_opener()

WORKFLOW = b"workflow\0\0" + zlib.compress(b'{"n":1}' * 300_000)  # what generators write: 2.1 MB in a few kilobytes
TURN_RIGHT = 6  # EXIF: turn by 90 degrees to show


def noise_picture(seed: int = 0, size: tuple[int, int] = (320, 240)) -> Image.Image:
    noise = Image.frombytes("RGB", (16, 12), random.Random(seed).randbytes(16 * 12 * 3))
    return noise.resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """`kind` is a name of KINDS, or Pillow's own."""
    buffer = io.BytesIO()
    image.save(buffer, KINDS[kind].pillow if kind in KINDS else kind, **options)
    return buffer.getvalue()


def exif_block(orientation: int = TURN_RIGHT, *, keep: float = 1.0, inner: bool = False) -> bytes:
    """An EXIF block with an orientation and a maker's long note behind it, cut to a share of its length.

    `inner`: it ends where its second directory, of the exposure, begins.
    """
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker " * 40
    if inner:
        exif.get_ifd(0x8769)[0x829A] = 0.01
        block = exif.tobytes()
        return block[: block.rindex(b"\x82\x9a") - 1]
    block = exif.tobytes()
    return block[: int(len(block) * keep)]


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """Right after the start of the file."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def png_chunk(kind: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    found = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", found)


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """Right after IHDR."""
    return png[:33] + b"".join(chunks) + png[33:]


def large_profile(size: int = 3_000_000) -> bytes:
    return random.Random(1).randbytes(size)


@functools.cache
def spoilt() -> dict[str, bytes]:
    """Sound pictures with side data that is broken or huge; every viewer shows them."""
    image = noise_picture()
    jpeg, png = encode(image, "jpeg", quality=92, dpi=(72, 72)), encode(image, "png")
    profile = large_profile()
    parts = [profile[start : start + 64_000] for start in range(0, len(profile), 64_000)]
    icc = [
        jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part)
        for number, part in enumerate(parts, start=1)
    ]
    return {
        "EXIF cut in half, JPEG": with_segments(jpeg, jpeg_segment(0xE1, exif_block(keep=0.5))),
        "EXIF cut in its header, JPEG": with_segments(jpeg, jpeg_segment(0xE1, exif_block()[:12])),
        "EXIF whose inner directory is cut off, JPEG": with_segments(jpeg, jpeg_segment(0xE1, exif_block(inner=True))),
        "EXIF cut in its first entry, JPEG": with_segments(jpeg, jpeg_segment(0xE1, exif_block()[:20])),
        "EXIF of no known order, JPEG": with_segments(jpeg, jpeg_segment(0xE1, b"Exif\0\0XX" + bytes(30))),
        "EXIF cut in half, PNG": with_chunks(png, png_chunk(b"eXIf", exif_block(keep=0.5)[6:])),
        "EXIF cut in half, WebP": encode(image, "webp", exif=exif_block(keep=0.5)),
        "EXIF cut in half, HEIC": encode(image, "heif", exif=exif_block(keep=0.5)),
        "EXIF of no known order, AVIF": _with_broken_avif_exif(encode(image, "avif", exif=exif_block(1))),
        "profile of 3 MB, JPEG": with_segments(jpeg, *icc),
        "profile of 3 MB, PNG": with_chunks(png, png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))),
        "profile of 3 MB, WebP": encode(image, "webp", icc_profile=profile),
        "profile of 3 MB, AVIF": encode(image, "avif", icc_profile=profile),
        "profile of 3 MB, HEIC": encode(image, "heif", icc_profile=profile),
        "profile of 3 MB, TIFF": encode(image, "tiff", icc_profile=profile),
        "text of 2 MB, PNG": with_chunks(png, png_chunk(b"zTXt", WORKFLOW)),
        "text of 2 MB behind the pixels, PNG": png[:-12] + png_chunk(b"zTXt", WORKFLOW) + png[-12:],
        "text that is no zlib stream, PNG": with_chunks(png, png_chunk(b"zTXt", b"workflow\0\0broken")),
        "text with a wrong checksum, PNG": with_chunks(png, png_chunk(b"tEXt", b"a\0b", checksum=1)),
        "international text of 2 MB, PNG": with_chunks(
            png, png_chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b'{"n":1}' * 300_000))
        ),
    }


def _with_broken_avif_exif(avif: bytes) -> bytes:
    """Of no known byte order; the boxes keep their sizes."""
    return avif.replace(b"Exif\0\0MM\0*", b"Exif\0\0XX\0*").replace(b"Exif\0\0II*\0", b"Exif\0\0XX*\0")
