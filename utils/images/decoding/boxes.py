"""Boxes of ISO media files (AVIF, HEIF) and of JPEG XL, as far as decoding safely needs them."""

from __future__ import annotations

from collections.abc import Iterator

JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
JXL_SIZE_BITS = (9, 13, 18, 30)


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each box's content between two offsets (ISO/IEC 14496-12, 4.2).

    Stops at one that does not fit.
    """
    while start + 8 <= end:
        size, header = int.from_bytes(data[start : start + 4], "big"), 8
        kind = data[start + 4 : start + 8]
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            return
        yield kind, start + header, start + size
        start += size


def hide_exif(data: bytes) -> tuple[bytes, bool]:
    """The file with its EXIF items renamed to `free`, which readers pass over, and whether there was one.

    The orientation of these files is not in EXIF but in the properties `irot` and `imir` (ISO/IEC 23008-12, 6.5).
    """
    places = list(_exif_items(data))
    if not places:
        return data, False
    changed = bytearray(data)
    for place in places:
        changed[place : place + 4] = b"free"
    return bytes(changed), True


def _exif_items(data: bytes) -> Iterator[int]:
    for kind, start, end in boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        for inner, inner_start, inner_end in boxes(data, start + 4, end):
            if inner != b"iinf":
                continue
            entries = inner_start + (6 if data[inner_start] == 0 else 8)  # version, flags, count
            for item, item_start, _ in boxes(data, entries, inner_end):
                place = item_start + (8 if data[item_start] == 2 else 10)  # version, flags, item_ID, protection
                if item == b"infe" and data[place : place + 4] == b"Exif":
                    yield place


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in a JPEG XL file's header (ISO/IEC 18181-1, 9.2.2), None when it cannot be found."""
    codestream = data[:64] if data[:2] == b"\xff\x0a" else _jxl_codestream(data)
    bits = _Bits(codestream[2:])
    if codestream[:2] != b"\xff\x0a" or len(codestream) < 12:
        return None
    if bits.take(1):
        height = 8 * (bits.take(5) + 1)
        ratio = bits.take(3)
        width = _of_ratio(height, ratio) if ratio else 8 * (bits.take(5) + 1)
    else:
        height = bits.take(JXL_SIZE_BITS[bits.take(2)]) + 1
        ratio = bits.take(3)
        width = _of_ratio(height, ratio) if ratio else bits.take(JXL_SIZE_BITS[bits.take(2)]) + 1
    return width, height


def _of_ratio(height: int, ratio: int) -> int:
    numerator, denominator = JXL_RATIOS[ratio]
    return height * numerator // denominator


def _jxl_codestream(data: bytes) -> bytes:
    """The first bytes of the codestream in a container: of `jxlc`, or of the first `jxlp` after its index."""
    for kind, start, _ in boxes(data, 0, len(data)):
        if kind in (b"jxlc", b"jxlp"):
            start += 4 if kind == b"jxlp" else 0
            return data[start : start + 64]
    return b""


class _Bits:
    """Least significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken
