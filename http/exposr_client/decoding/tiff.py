"""The directory of a TIFF file, reduced to what its first picture's pixels need (TIFF 6.0, section 2; BigTIFF)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .side_data import LARGE_BYTES, Split

NEW_SUBFILE_TYPE, SUBFILE_TYPE, PHOTOMETRIC, MAKE, SUB_IFDS = 254, 255, 262, 271, 330
EXIF_IFD, DNG_VERSION = 34665, 50706
PIXEL_TAGS = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 284, 292, 293, 317, 320),
        *(322, 323, 324, 325, 332, 334, 336, 338, 339, 340, 341, 347, *range(512, 522), 529, 530, 531, 532),
    }
)
COLOUR_FILTER_ARRAY, LINEAR_RAW = 32803, 34892  # photometric interpretations of raw camera files
REDUCED, MASK = 1, 4  # bits of NewSubfileType
OLD_REDUCED = 2
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
MAX_PAGES = 1000


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers are written: order of bytes, formats of the entry count, an entry (tag, type, count), an offset."""

    order: str
    count: str
    entry: str
    offset: str
    entry_bytes: int

    def read(self, code: str, data: bytes, place: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + code, data, place)


@dataclass(frozen=True, slots=True)
class Directory:
    """`raw`: a camera's sensor data, whose first picture is only a preview. `pages`: pictures at full size."""

    split: Split
    has_exif: bool
    raw: bool
    pages: int


def split_tiff(data: bytes) -> Directory | None:
    """The file with a first directory of PIXEL_TAGS alone, and no further one; None when the directory is damaged."""
    big = data[2:4] in (b"+\x00", b"\x00+")
    order = "<" if data[:2] == b"II" else ">"
    layout = _Layout(order, "Q", "HHQ", "Q", 20) if big else _Layout(order, "H", "HHI", "I", 12)
    try:
        (start,) = layout.read(layout.offset, data, 8 if big else 4)
        values, entries, after = _read(data, start, layout)
        pages = _pages(data, after, layout, values)
        changed, notes = _reduced(data, start, layout, entries)
    except (struct.error, RecursionError, OverflowError):
        return None
    raw = (
        data[8:10] == b"CR"
        or DNG_VERSION in values
        or values.get(PHOTOMETRIC) in (COLOUR_FILTER_ARRAY, LINEAR_RAW)
        or (bool(values.get(NEW_SUBFILE_TYPE, 0) & REDUCED) and SUB_IFDS in values)
    )
    return Directory(Split(changed, None, notes), EXIF_IFD in values or MAKE in values, raw, pages)


def _read(data: bytes, start: int, layout: _Layout) -> tuple[dict[int, int], list[tuple[int, int, int]], int]:
    """First value by tag, (tag, place, bytes of its value) of the entries, and the place of the next one's offset."""
    (number,) = layout.read(layout.count, data, start)
    first = start + struct.calcsize(layout.order + layout.count)
    end = first + number * layout.entry_bytes
    if end > len(data):
        raise struct.error("the directory ends behind the file")
    values: dict[int, int] = {}
    entries = []
    for place in range(first, end, layout.entry_bytes):
        tag, kind, count = layout.read(layout.entry, data, place)
        code = {1: "B", 3: "H", 4: "I"}.get(kind, "B")
        (values[tag],) = layout.read(code, data, place + struct.calcsize(layout.order + layout.entry))
        entries.append((tag, place, TYPE_SIZES.get(kind, 1) * count))
    return values, entries, end


def _pages(data: bytes, after: int, layout: _Layout, first: dict[int, int]) -> int:
    """How many pictures at full size the file holds; previews and masks do not count."""
    pages, seen = 1, set[int]()
    while len(seen) < MAX_PAGES:
        try:
            (start,) = layout.read(layout.offset, data, after)
            if start == 0 or start in seen:
                break
            seen.add(start)
            values, _, after = _read(data, start, layout)
        except struct.error:
            break
        preview = values.get(NEW_SUBFILE_TYPE, 0) & (REDUCED | MASK) or values.get(SUBFILE_TYPE) == OLD_REDUCED
        pages += not preview
    return pages


def _reduced(data: bytes, start: int, layout: _Layout, entries: list[tuple[int, int, int]]) -> tuple[bytes, list[str]]:
    kept = [data[place : place + layout.entry_bytes] for tag, place, _ in entries if tag in PIXEL_TAGS]
    directory = struct.pack(layout.order + layout.count, len(kept)) + b"".join(kept)
    directory += struct.pack(layout.order + layout.offset, 0)
    changed = bytearray(data)
    changed[start : start + len(directory)] = directory
    notes = [
        f"{size / 1e6:.1f} MB of side data (tag {tag}) left out"
        for tag, _, size in entries
        if tag not in PIXEL_TAGS and size > LARGE_BYTES
    ]
    return bytes(changed), notes
