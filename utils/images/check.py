"""The check that every image passes before it counts: one usable picture, decoded to its last byte.

Runs in checker processes only (`utils/images/check_worker.py`), since what it reads may be hostile and it imports
Pillow.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import warnings
from pathlib import Path

from PIL import Image

from utils.errors import CutFileError, RetryLaterError, SkipItemError
from utils.images.cuts import lacks_end, looks_cut
from utils.images.decoding.decode import Header, Picture, PictureError, decode
from utils.images.decoding.kinds import HEAD_BYTES, KINDS, sniff
from utils.images.decoding.orientation import turn
from utils.images.decoding.pixels import to_rgb
from utils.images.facts import CheckLimits, ImageFacts
from utils.images.format import content_code, recognise
from utils.images.perceptual import perceptual_hash, thumb

__all__ = ["CheckLimits", "ImageFacts", "check_image", "decode_checked", "read_regular_file", "reduce_upright"]

Image.MAX_IMAGE_PIXELS = None  # our own limits are checked on the header, before a pixel is decoded

READ_CHUNK_BYTES = 1 << 20
REDUCED_SIDE = 128  # perceptual hash and thumb are taken from a picture about this large; below, hashes drift apart
KINDS_OF_FILE = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link; links are not followed, put the file itself here"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_image(path: str | Path, limits: CheckLimits) -> ImageFacts:
    """The facts of a usable picture.

    Raises SkipItemError when the file's content is at fault (CutFileError: it ends too early), RetryLaterError when its
    surroundings are (permissions, a disk error, a writer still at work); the message is the reason, without the path.
    """
    data = read_regular_file(path, limits.max_file_bytes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd EXIF and palettes are no reason to refuse a picture that decodes
        picture = decode_checked(data, path, limits)
        small = reduce_upright(picture, REDUCED_SIDE)
    return ImageFacts(
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        format=picture.kind.name,
        extension=picture.kind.extension,
        width=picture.width,
        height=picture.height,
        phash=perceptual_hash(small),
        thumb=thumb(small),
        has_exif=picture.has_exif,
        note=picture.note,
    )


def read_regular_file(path: str | Path, max_bytes: int) -> bytes:
    """All bytes of a regular file that did not change meanwhile. Never blocks on a pipe, never follows a link."""
    try:
        _refuse_special(os.lstat(path).st_mode)  # before open: opening a device can have effects
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            before = os.fstat(descriptor)
            _refuse_special(before.st_mode)
            if before.st_size == 0:
                raise CutFileError("is empty", "empty")
            if before.st_size > max_bytes:
                content = recognise(os.read(descriptor, HEAD_BYTES), Path(path))
                size = f"is {before.st_size / 1e6:.1f} MB, at most {max_bytes / 1e6:g} MB are allowed"
                raise SkipItemError(size, "too_large") if content is None else SkipItemError(str(content))
            chunks = bytearray()
            while len(chunks) <= max_bytes and (chunk := os.read(descriptor, READ_CHUNK_BYTES)):
                chunks += chunk
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SkipItemError("is a symbolic link; links are not followed, put the file itself here") from error
        raise RetryLaterError(f"cannot be read: {os.strerror(error.errno or errno.EIO)}") from error
    if len(chunks) != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise RetryLaterError("changed while it was read")
    return bytes(chunks)


def _refuse_special(mode: int) -> None:
    for is_kind, name in KINDS_OF_FILE:
        if is_kind(mode):
            raise SkipItemError(f"is {name}" if is_kind is stat.S_ISLNK else f"is {name}, not a file")


def decode_checked(data: bytes, path: str | Path, limits: CheckLimits, side: int = REDUCED_SIDE) -> Picture:
    """One usable picture. A JPEG may come at a fraction of its size, with no side below `side`."""
    content = recognise(data[:HEAD_BYTES], Path(path))
    if content is not None:
        raise (CutFileError if looks_cut(data, None) else SkipItemError)(str(content), content_code(data[:HEAD_BYTES]))
    kind = sniff(data[:HEAD_BYTES])
    assert kind is not None
    if lacks_end(data, kind):
        raise CutFileError(f"is a truncated {KINDS[kind].title} picture: it ends too early", "decode")
    try:
        # scaled by libjpeg: every coded bit is still read, so damage shows, at a quarter of time and memory
        return decode(data, lambda header: _refuse(header, limits), draft_side=side)
    except MemoryError as error:
        raise SkipItemError(
            f"needs more memory to decode than a check may use ({KINDS[kind].title})", "memory"
        ) from error
    except PictureError as error:
        raise (CutFileError if looks_cut(data, kind) else SkipItemError)(str(error), "decode") from error


def _refuse(header: Header, limits: CheckLimits) -> None:
    """Raises SkipItemError for what is beyond the limits, or more than one picture."""
    size = f"is {header.width} x {header.height} pixels"
    if min(header.width, header.height) < limits.min_side:
        raise SkipItemError(f"{size}; the shorter side must have at least {limits.min_side}", "too_small")
    if max(header.width, header.height) > limits.max_side:
        raise SkipItemError(f"{size}; the longer side may have at most {limits.max_side}", "too_many_pixels")
    if header.width * header.height > limits.max_pixels:
        megapixels = f"{header.width * header.height / 1e6:.1f} megapixels"
        raise SkipItemError(
            f"{size} ({megapixels}); at most {limits.max_pixels / 1e6:g} are allowed", "too_many_pixels"
        )
    if header.frames != 1:
        what = (
            f"has {header.frames} pages" if header.kind.name == "tiff" else f"is an animation ({header.frames} frames)"
        )
        raise SkipItemError(
            f"{what}; single pictures are used: save one as a file of its own (magick 'IN[0]' out.png)", "animation"
        )


def reduce_upright(picture: Picture, side: int) -> Image.Image:
    """Upright, in RGB, on white where it is transparent; the short side is at least `side`, or what it was.

    The picture's own image where that is all this already.
    """
    image = picture.image
    if image.mode.startswith("I"):
        image = to_rgb(image)
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    factor = min(image.size) // side
    shown = turn(image.reduce(factor) if factor > 1 else image, picture.orientation)
    if shown.mode != "RGB" or shown.has_transparency_data:
        shown = to_rgb(shown)
    shown.info = {}  # a profile or a text would be saved with it
    return shown
