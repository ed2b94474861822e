"""Where the console's small pictures are kept: `<state>/thumbnails/<size>/<two digits>/<sha256>.webp`."""

from __future__ import annotations

import re
from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}")
THUMBNAILS_FOLDER = "thumbnails"  # in the state folder
SIDES = {"small": 256, "large": 1280}  # pixels of the longer side


def thumbnail_file(folder: Path, size: str, sha256: str) -> Path:
    return folder / size / sha256[:2] / f"{sha256}.webp"


def remove_thumbnails(state: Path, sha256: str) -> None:
    """All of one picture; what is no sha256, as an edited metadata file may have it, names none."""
    if not SHA256.fullmatch(sha256):
        return
    for size in SIDES:
        thumbnail_file(state / THUMBNAILS_FOLDER, size, sha256).unlink(missing_ok=True)
