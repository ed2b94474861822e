"""Cutting out of a file what carries no pixels, before a decoder sees it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

LARGE_BYTES = 1_000_000  # side data beyond this is worth a note

JPEG_START_OF_SCAN = 0xDA
JPEG_END = 0xD9
JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
JPEG_SIDE_DATA = frozenset({*range(0xE0, 0xF0), 0xFE})
# the two that tell the decoder which colours these are, with the length that libjpeg asks of them
JPEG_COLOUR_MARKERS = {0xE0: (b"JFIF\x00", 14), 0xEE: (b"Adobe", 12)}

PNG_SIGNATURE_BYTES = 8
PNG_END = b"IEND"
PNG_KEPT = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})  # besides the critical ones: transparency, animation
PNG_COMPRESSED = frozenset({b"zTXt", b"iCCP", b"iTXt"})


@dataclass(slots=True)
class Split:
    """`data`: a file with the same pixels. `exif`: its EXIF block, if any. `notes`: what was broken or large."""

    data: bytes
    exif: bytes | None = None
    notes: list[str] = field(default_factory=list)


class _Cutter:
    """Collects the pieces that stay; copies nothing until something is left out."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pieces: list[memoryview] = []
        self._start = 0

    def drop(self, start: int, end: int) -> None:
        self._pieces.append(memoryview(self._data)[self._start : start])
        self._start = end

    def result(self) -> bytes:
        if not self._pieces:
            return self._data
        return b"".join([*self._pieces, memoryview(self._data)[self._start :]])


def split_jpeg(data: bytes) -> Split:
    """Without APP segments and comments, except those that decide about colours; up to the first scan."""
    cutter, split = _Cutter(data), Split(data)
    sizes: dict[int, int] = {}
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            break  # damaged: the decoder is to judge
        marker = data[position + 1]
        if marker == 0xFF or marker in JPEG_WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in (JPEG_START_OF_SCAN, JPEG_END) or end > len(data) or end < position + 4:
            break
        if marker in JPEG_SIDE_DATA and not _tells_colours(marker, data[position + 4 : end]):
            if marker == 0xE1 and split.exif is None and data[position + 4 : end].startswith(b"Exif\x00"):
                split.exif = data[position + 4 : end]
            sizes[marker] = sizes.get(marker, 0) + end - position
            cutter.drop(position, end)
        position = end
    split.data = cutter.result()
    split.notes = [
        f"{size / 1e6:.1f} MB of side data ({_jpeg_name(marker)}) left out"
        for marker, size in sizes.items()
        if size > LARGE_BYTES
    ]
    return split


def _tells_colours(marker: int, body: bytes) -> bool:
    name, length = JPEG_COLOUR_MARKERS.get(marker, (b"", 0))
    return bool(name) and body.startswith(name) and len(body) >= length


def _jpeg_name(marker: int) -> str:
    return "comments" if marker == 0xFE else f"APP{marker - 0xE0}"


def split_png(data: bytes) -> Split:
    """Without ancillary chunks, except transparency and animation, and without what follows the end."""
    cutter, split = _Cutter(data), Split(data)
    position = PNG_SIGNATURE_BYTES
    budget = 4 * LARGE_BYTES  # of inflated text: a thousand bombs in one file are not worth looking at each
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break  # cut: the decoder is to judge
        if not kind[:1].isupper() and kind not in PNG_KEPT:
            body = memoryview(data)[position + 8 : end - 4]
            if kind == b"eXIf" and split.exif is None:
                split.exif = bytes(body)
            elif fault := _png_fault(kind, body, data[end - 4 : end], budget):
                split.notes.append(f"{kind.decode('latin-1')} chunk left out: {fault}")
                budget -= LARGE_BYTES
            cutter.drop(position, end)
        position = end
        if kind == PNG_END:
            cutter.drop(position, len(data))
            break
    split.data = cutter.result()
    return split


def _png_fault(kind: bytes, body: memoryview, checksum: bytes, budget: int) -> str:
    """What is wrong with a chunk of side data; empty when nothing is."""
    if len(body) > LARGE_BYTES:
        return f"{len(body) / 1e6:.1f} MB"
    if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
        return "its checksum is wrong"
    if kind not in PNG_COMPRESSED or budget <= 0:
        return ""
    rest = bytes(body).partition(b"\x00")[2]
    if kind == b"iTXt":
        if rest[:1] != b"\x01":
            return ""
        packed = rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]  # after language and translated name
    else:
        packed = rest[1:]
    try:
        inflater = zlib.decompressobj()
        inflater.decompress(packed, LARGE_BYTES)
    except zlib.error:
        return "it cannot be decompressed"
    return f"more than {LARGE_BYTES / 1e6:.0f} MB" if inflater.unconsumed_tail else ""
