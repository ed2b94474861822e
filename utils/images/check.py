"""The check that every image passes before it counts: one usable picture, decoded to its last byte.

Runs in checker processes only (`utils/images/check_worker.py`), since what it reads may be hostile and it imports
Pillow.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
import warnings
from pathlib import Path

import imagehash
from PIL import Image, ImageOps, ImageStat, UnidentifiedImageError

from utils.errors import RetryLaterError, SkipItemError
from utils.images.facts import EXTENSIONS, THUMB_SIDE, CheckLimits, ImageFacts, ImageFormat
from utils.images.format import HEAD_BYTES, sniff_format

__all__ = ["CheckLimits", "ImageFacts", "check_image"]

Image.MAX_IMAGE_PIXELS = None  # our own limits are checked on the header, before a pixel is decoded

READ_CHUNK_BYTES = 1 << 20
REDUCED_SIDE = 256  # perceptual hash and thumb are taken from a picture about this large: 4x cheaper, same bits
PNG_END = b"IEND\xaeB`\x82"
MIN_DETAIL = 2.5  # standard deviation of grey levels (0..255) below which a perceptual hash is noise
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link; links are not followed, put the file itself here"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_image(path: str | Path, limits: CheckLimits) -> ImageFacts:
    """The facts of a usable picture.

    Raises SkipItemError when the file's content is at fault, RetryLaterError when its surroundings are (permissions,
    a disk error, a writer still at work); the message is the reason, without the path.
    """
    data = read_regular_file(path, limits.max_file_bytes)
    image_format = sniff_format(data[:HEAD_BYTES])
    _refuse_cut(data, image_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd EXIF and palettes are no reason to refuse a picture that decodes
        width, height, upright, has_exif = _decode(data, image_format, limits)
        phash, thumb = _perceptual(upright)
    return ImageFacts(
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        format=image_format,
        extension=EXTENSIONS[image_format],
        width=width,
        height=height,
        phash=phash,
        thumb=thumb,
        has_exif=has_exif,
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
                raise SkipItemError("is empty")
            if before.st_size > max_bytes:
                raise SkipItemError(f"is {before.st_size / 1e6:.1f} MB, at most {max_bytes / 1e6:g} MB are allowed")
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
    for is_kind, name in KINDS:
        if is_kind(mode):
            raise SkipItemError(f"is {name}" if is_kind is stat.S_ISLNK else f"is {name}, not a file")


def _refuse_cut(data: bytes, image_format: ImageFormat) -> None:
    """Cuts that a decoder takes without complaint, since they lie behind the last pixel."""
    if image_format == "webp" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise SkipItemError("is a truncated WebP picture: shorter than its header says")
    if image_format == "png" and PNG_END not in data:
        raise SkipItemError("is a truncated PNG picture: its end mark is missing")


def _decode(data: bytes, image_format: ImageFormat, limits: CheckLimits) -> tuple[int, int, Image.Image, bool]:
    """Width and height as stored, the upright picture reduced to about REDUCED_SIDE in RGB, and whether it has EXIF."""
    name = image_format.upper()
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            width, height = image.size
            refuse_size(width, height, limits)
            # a JPEG's further frames (MPO) are previews, depth or gain maps of the same shot; elsewhere they move
            frames = 1 if image_format == "jpeg" else getattr(image, "n_frames", 1)
            if frames != 1:
                raise SkipItemError(f"is an animation ({frames} frames); single pictures are used")
            # scaled by libjpeg: every coded bit is still read, so damage shows, at a quarter of time and memory
            image.draft(None, (REDUCED_SIDE, REDUCED_SIDE))
            image.load()
            has_exif = bool(image.info.get("exif")) or bool(image.getexif())
            return width, height, _reduce_upright(image), has_exif
    except MemoryError as error:
        raise SkipItemError(f"needs more memory to decode than a check may use ({name})") from error
    except UnidentifiedImageError as error:
        raise SkipItemError(f"has the signature of {name}, but its header is broken or cut") from error
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
        # Pillow's decoders raise all of these on damaged files
        raise SkipItemError(f"cannot be decoded as {name}: {error}") from error


def refuse_size(width: int, height: int, limits: CheckLimits) -> None:
    if min(width, height) < limits.min_side:
        raise SkipItemError(f"is {width} x {height} pixels; the shorter side must have at least {limits.min_side}")
    if max(width, height) > limits.max_side:
        raise SkipItemError(f"is {width} x {height} pixels; the longer side may have at most {limits.max_side}")
    if width * height > limits.max_pixels:
        megapixels = f"{width * height / 1e6:.1f} megapixels"
        raise SkipItemError(
            f"is {width} x {height} pixels ({megapixels}); at most {limits.max_pixels / 1e6:g} are allowed"
        )


def _reduce_upright(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = image.point(lambda level: level / 256).convert("L")  # 16 bit grey: Pillow's own conversion would clip
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode.endswith("A") else "RGB")
    small = image.reduce(max(1, min(image.size) // REDUCED_SIDE))
    with contextlib.suppress(OSError, SyntaxError, ValueError, KeyError, TypeError):  # EXIF may be broken
        small = ImageOps.exif_transpose(small)
    if small.mode == "RGBA":
        white = Image.new("RGBA", small.size, "white")
        small = Image.alpha_composite(white, small)
    return small.convert("RGB")


def _perceptual(picture: Image.Image) -> tuple[str | None, str]:
    thumb = picture.resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX).tobytes().hex()
    grey = picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS)  # what phash looks at
    if ImageStat.Stat(grey).stddev[0] < MIN_DETAIL:
        return None, thumb
    return str(imagehash.phash(grey)), thumb  # the same hash as of `picture`, without a second resize
