"""What a check of one image file asks and answers. No imaging library is imported here: the daemon uses this module."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from utils.config.sections import Intake
from utils.images.decoding.kinds import KINDS

THUMB_SIDE = 4  # a thumb is THUMB_SIDE x THUMB_SIDE RGB pixels, row by row, as hex


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """A file or picture beyond one of these is refused, before it is decoded."""

    max_file_bytes: int
    min_side: int
    max_side: int
    max_pixels: int

    @classmethod
    def from_settings(cls, intake: Intake) -> CheckLimits:
        return cls(
            max_file_bytes=int(intake.max_file_mb * 1e6),
            min_side=intake.min_side,
            max_side=intake.max_side,
            max_pixels=int(intake.max_megapixels * 1e6),
        )


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A file that is one usable picture. `width` and `height` are as stored, before any EXIF rotation.

    `format` is a name of `decoding.kinds.KINDS`. `phash` (16 hex digits) and `thumb` (96 hex digits) are of the
    upright picture; `phash` is None where the picture has too little detail for a perceptual hash to mean anything.
    """

    sha256: str
    size_bytes: int
    format: str
    extension: str
    width: int
    height: int
    phash: str | None
    thumb: str | None
    has_exif: bool
    note: str | None = None  # side data that was broken or huge, and left out


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """Why a file is not usable. `retryable`: the cause was not in the file's bytes, the same file may pass later.

    `incomplete`: the file ends too early, so that the rest may still arrive. `code` is a short slug of the reason:
    too_small, too_large, too_many_pixels, animation, empty, decode, memory, timeout, or that of what the file is
    instead (gif, video, html, …).
    """

    reason: str
    retryable: bool
    incomplete: bool = False
    code: str = "decode"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """What to draw of a file: only if its bytes are these, with a longer side of at most `side` pixels."""

    sha256: str
    side: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The file has the bytes that it was expected to have: what is known of it still holds."""


def readers() -> list[str]:
    """Installed modules that read further formats: with another one, refused files are asked again."""
    return [kind.module for kind in KINDS.values() if kind.module and importlib.util.find_spec(kind.module)]


CheckResult = ImageFacts | CheckFailure
ProofResult = CheckResult | Unchanged
