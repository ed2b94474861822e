"""Whether a file that cannot be used ends too early: it may still be arriving."""

from __future__ import annotations

from utils.images.decoding.boxes import boxes
from utils.images.decoding.side_data import PNG_END, split_jpeg

JPEG_END = b"\xff\xd9"
PNG_LAST = PNG_END + b"\xaeB`\x82"
TAIL_BYTES = 1 << 16
HOLE_BYTES = 4096  # of zeros at the end: a download that reserved its whole size first
JXL_CODESTREAM = b"\xff\x0a"
JP2_BOX = b"\x00\x00\x00\x0cjP  "


def looks_cut(data: bytes, kind: str | None) -> bool:
    """By the end that the format demands. Only meant for files that cannot be decoded."""
    if _ends_in_hole(data):
        return True
    if kind == "jpeg":
        return JPEG_END not in split_jpeg(data).data[-TAIL_BYTES:]
    if kind == "gif":
        return not data.endswith(b";")
    if kind == "bmp":
        return int.from_bytes(data[2:6], "little") > len(data)
    if kind == "tiff" or (kind == "jxl" and data[:2] == JXL_CODESTREAM):
        return True  # neither has an end mark
    if kind in ("avif", "heif", "jxl"):
        return _last_box(data)[1] < len(data)
    return kind is not None and lacks_end(data, kind)


def lacks_end(data: bytes, kind: str) -> bool:
    """The same, where decoders take such a file without a word: cut behind the last pixel, or its end is a hole."""
    if kind == "png":
        return PNG_LAST not in data
    if kind == "webp":
        end = int.from_bytes(data[4:8], "little") + 8
        return end > len(data) or _ends_in_hole(data[:end])
    if kind == "jp2":
        return _lacks_codestream_end(data)
    if not _ends_in_hole(data):
        return False
    if kind == "jpeg":
        return JPEG_END not in data.rstrip(b"\x00")[-TAIL_BYTES:]
    return kind in ("avif", "heif") and _last_box(data)[0] == b"mdat"


def _ends_in_hole(data: bytes) -> bool:
    return not data[-HOLE_BYTES:].strip(b"\x00") and len(data) >= HOLE_BYTES


def _last_box(data: bytes) -> tuple[bytes, int]:
    """Type and end of the last box that fits."""
    last = (b"", 0)
    for kind, _, end in boxes(data, 0, len(data)):
        last = (kind, end)
    return last


def _lacks_codestream_end(data: bytes) -> bool:
    """JPEG 2000's last marker is missing (ISO/IEC 15444-1, A.4.4)."""
    if not data.startswith(JP2_BOX):
        return not data.rstrip(b"\x00").endswith(JPEG_END)
    streams = [(start, end) for kind, start, end in boxes(data, 0, len(data)) if kind == b"jp2c"]
    return not streams or not data[streams[0][0] : streams[0][1]].endswith(JPEG_END)
