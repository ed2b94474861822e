"""Conditional and range requests (RFC 9110, sections 13 and 14) as pure functions on header values.

Why not Starlette's FileResponse: its ETag is made of time and size, it opens the path again after it has looked at it,
and it answers no If-None-Match. Here the ETag is the file's sha256.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ENTITY_TAG = re.compile(r'(?:W/)?"[^"]*"')
BYTE_RANGE = re.compile(r"(?i:bytes)=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII)
MAX_DIGITS = 18  # more than any file has; keeps int() of a hostile header cheap


def matches_any(header: str | None, etag: str) -> bool:
    """If-None-Match: `*`, or a list of tags of which one is ours; weak and strong forms are equal here."""
    if header is None:
        return False
    return header.strip() == "*" or etag in {tag.removeprefix("W/") for tag in ENTITY_TAG.findall(header)}


def matches_strongly(header: str | None, etag: str) -> bool:
    """If-Match: true without the header; else `*` or a list that holds our tag in its strong form."""
    if header is None:
        return True
    return header.strip() == "*" or etag in ENTITY_TAG.findall(header)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


class UnsatisfiableRangeError(ValueError):
    """The range lies outside the file: 416."""


def requested_range(header: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """The one range asked for, or None for the whole file.

    None also when the header is malformed, has another unit, asks for several ranges (we may ignore it, and a client
    of several ranges copes with a 200) or when If-Range names another version: then a resume must start again.
    Raises UnsatisfiableRangeError.
    """
    if header is None or (if_range is not None and if_range.strip() != etag):
        return None
    match = BYTE_RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if max(len(first), len(last)) > MAX_DIGITS or not (first or last):
        return None
    if not first:  # the last N bytes
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise UnsatisfiableRangeError(header)
    return ByteRange(start, stop)
