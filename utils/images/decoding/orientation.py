"""Which way up a picture is shown: the orientation of EXIF 2.32, 4.6.4.A."""

from __future__ import annotations

import struct

from PIL import Image

ORIENTATION = 0x0112
UPRIGHT = 1
VALUE_FORMATS = {1: "B", 3: "H", 4: "I"}  # EXIF types that an orientation comes in
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_orientation(exif: bytes) -> tuple[int, bool]:
    """The orientation, 1 to 8, that an EXIF block gives, and whether the block is whole; never raises."""
    tiff = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT, False
    orientation, whole = UPRIGHT, True
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count, offset = struct.unpack_from(f"{order}HHII", tiff, entry)
            size = TYPE_SIZES.get(kind, 1) * count
            whole &= size <= 4 or offset + size <= len(tiff)
            if tag == ORIENTATION and kind in VALUE_FORMATS:
                (orientation,) = struct.unpack_from(order + VALUE_FORMATS[kind], tiff, entry + 8)
    except struct.error:
        whole = False
    return (orientation if orientation in TURNS else UPRIGHT), whole


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """The picture upright: another one, or the same where it is upright already."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def upright(image: Image.Image) -> Image.Image:
    """The same for a picture in memory, by the EXIF data that it carries; broken EXIF leaves it as it is."""
    try:
        orientation = int(image.getexif().get(ORIENTATION, UPRIGHT))
    except Exception:  # whatever somebody's EXIF makes of Pillow's reader
        orientation = UPRIGHT
    return turn(image, orientation)
