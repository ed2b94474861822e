"""Style, scripts and the icon of the pages, in memory: no name from outside meets the disk."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@functools.cache
def assets() -> dict[str, tuple[bytes, str]]:
    """Bytes and media type of each file of static/, by name."""
    found = {}
    for file in sorted(files("exposr_api.pages").joinpath("static").iterdir(), key=lambda file: file.name):
        media_type = TYPES.get("." + file.name.rpartition(".")[2])
        if media_type is not None:
            found[file.name] = (file.read_bytes(), media_type)
    return found


@functools.cache
def asset_version() -> str:
    """Changes with any of them, so that browsers may keep them."""
    digest = hashlib.sha256()
    for name, (body, _) in assets().items():
        digest.update(name.encode() + body)
    return digest.hexdigest()[:12]
