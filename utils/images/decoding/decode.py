"""Decoding: the one way from a file's bytes to a picture."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from .boxes import hide_exif, jxl_size
from .kinds import HEAD_BYTES, KINDS, Kind, sniff
from .orientation import UPRIGHT, read_orientation, turn
from .side_data import LARGE_BYTES, Split, split_jpeg, split_png
from .tiff import split_tiff

SIDE_DATA_KEYS = {"icc_profile": "colour profile", "exif": "EXIF", "xmp": "XMP"}
TOO_DEEP = ("F", "I")  # pixels of 32 bits, whose range nobody states


class PictureError(ValueError):
    """The bytes are no picture that can be read; the text is the reason, and goes on after the file's name."""


class NotInstalledError(PictureError):
    """The library that reads this format is missing."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is known before a pixel is decoded. `frames`: pictures in an animation, pages of a document."""

    kind: Kind
    width: int
    height: int
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """`image` as stored, in the decoder's mode, to be shown by `orientation` (1 to 8). `note`: side data left out."""

    image: Image.Image
    kind: Kind
    width: int
    height: int
    orientation: int
    has_exif: bool
    note: str | None

    def upright(self) -> Image.Image:
        """The picture as it is shown, with nothing but pixels (and a palette's transparency)."""
        shown = turn(self.image, self.orientation)
        plain = shown.copy() if shown is self.image else shown
        plain.info = {key: value for key, value in plain.info.items() if key == "transparency"}
        return plain


def decode(data: bytes, check: Callable[[Header], None] = lambda header: None, draft_side: int = 0) -> Picture:
    """The first or primary picture in `data`, decoded to its last byte.

    `check` sees the header first and may raise to refuse. `draft_side` lets a JPEG be decoded at a fraction of its
    size, not below this many pixels a side: for thumbnails and hashes, never for what a model sees.
    Raises PictureError; MemoryError passes.
    """
    name = sniff(data[:HEAD_BYTES])
    if name is None:
        raise PictureError(f"is no {list_titles()} picture")
    kind = KINDS[name]
    split, has_exif, pages = _split(kind, data)
    if name == "jxl":
        size = jxl_size(data)
        if size is None:
            raise PictureError("has the signature of JPEG XL, but its header is broken or cut")
        check(Header(kind, *size))  # its decoder makes all pixels on opening
    with _naming_errors(kind):
        _load_plugin(kind)
        try:
            image = Image.open(io.BytesIO(split.data), formats=[kind.pillow])
        except UnidentifiedImageError as error:
            raise PictureError(f"has the signature of {kind.title}, but its header is broken or cut") from error
    with image:
        width, height = image.size
        with _naming_errors(kind):
            # in JPEG and HEIF, further frames are previews, depth or gain maps of the same shot
            frames = pages or (1 if name in ("jpeg", "heif") else int(getattr(image, "n_frames", 1)))
        check(Header(kind, width, height, frames))
        if image.mode in TOO_DEEP:
            raise PictureError("has 32-bit pixels; save it with 8 or 16 bits a channel")
        with _naming_errors(kind):
            if draft_side and name == "jpeg":
                image.draft(None, (draft_side, draft_side))
            image.load()
        if name != "jpeg" and image.size != (width, height):
            check(Header(kind, *image.size, frames))  # a HEIF header may understate
        orientation, whole = _orientation(name, image, split)
        notes = [*split.notes, *([] if whole else ["EXIF left out: it is broken"])]
        notes += [
            f"{len(image.info[key]) / 1e6:.1f} MB of side data ({title}) left out"
            for key, title in SIDE_DATA_KEYS.items()
            if len(image.info.get(key) or b"") > LARGE_BYTES
        ]
        has_exif = has_exif or split.exif is not None or (name != "tiff" and bool(image.info.get("exif")))
        return Picture(image, kind, width, height, orientation, has_exif, "; ".join(dict.fromkeys(notes)) or None)


def list_titles() -> str:
    """ "JPEG, PNG, … and JPEG XL"."""
    *titles, last = (kind.title for kind in KINDS.values())
    return f"{', '.join(titles)} or {last}"


def _split(kind: Kind, data: bytes) -> tuple[Split, bool, int]:
    """The file without side data; whether it had EXIF, as far as that is known yet; pages, 0 when not known."""
    if kind.name == "jpeg":
        return split_jpeg(data), False, 0
    if kind.name == "png":
        return split_png(data), False, 0
    if kind.name == "avif":
        hidden, had_exif = hide_exif(data)
        return Split(hidden), had_exif, 0
    if kind.name == "tiff":
        directory = split_tiff(data)
        if directory is None:
            raise PictureError("has the signature of TIFF, but its directory is broken or cut")
        if directory.raw:
            raise PictureError("is a raw camera picture; develop it and export it as JPEG or TIFF")
        return directory.split, directory.has_exif, directory.pages
    return Split(data), False, 0


def _orientation(name: str, image: Image.Image, split: Split) -> tuple[int, bool]:
    """Of the decoded picture, and whether the EXIF block is whole. Pillow turns TIFF itself; so do HEIF and JPEG XL."""
    exif = split.exif if name in ("jpeg", "png", "tiff") else image.info.get("exif")
    orientation, whole = read_orientation(exif) if exif else (UPRIGHT, True)
    # AVIF: what Pillow made of `irot` and `imir`
    counts = name in ("jpeg", "png", "webp", "avif") or (name == "jxl" and getattr(image, "jpeg", False))
    return (orientation if counts else UPRIGHT), whole


def _load_plugin(kind: Kind) -> None:
    try:
        if kind.name == "heif":
            import pillow_heif

            pillow_heif.register_heif_opener()
        elif kind.name == "jxl":
            import pillow_jxl  # noqa: F401  registers itself
    except ImportError as error:
        raise NotInstalledError(f"is a {kind.title} picture, which needs: pip install {kind.library}") from error


@contextlib.contextmanager
def _naming_errors(kind: Kind) -> Iterator[None]:
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise PictureError(f"cannot be decoded as {kind.title}: {error}") from error
