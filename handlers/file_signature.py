"""What tells one state of a file from another without reading it."""

from __future__ import annotations

import os
from typing import NamedTuple

from handlers.paths import join

SIGNED_64 = (1 << 63) - 1  # SQLite's integers; inodes and far-off times can be larger


class FileSignature(NamedTuple):
    """Equal signatures: the same bytes. `ctime_ns` also sees an edit that put size and mtime back."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileSignature:
        return cls(
            status.st_size,
            status.st_mtime_ns & SIGNED_64,
            status.st_ctime_ns & SIGNED_64,
            status.st_ino & SIGNED_64,
        )

    @property
    def changed(self) -> float:
        """Unix time of the last change, of content or place."""
        return max(self.mtime_ns, self.ctime_ns) / 1e9

    def same_content(self, other: FileSignature) -> bool:
        """Most likely the same bytes: a rename, a hard link or new permissions change nothing but the ctime."""
        return (self.size, self.mtime_ns, self.inode) == (other.size, other.mtime_ns, other.inode)

    def unproven(self) -> FileSignature:
        """Equal to that of no file: the next scan looks again at what is recorded with it."""
        return self._replace(ctime_ns=0)


class Found(NamedTuple):
    """A regular file that a scan saw. `device` is its folder's, since overlay file systems lie about a file's.

    `expected`: the SHA-256 that it most likely still has, so that reading it is enough.
    """

    folder: bytes
    name: bytes
    signature: FileSignature
    device: int
    expected: str | None = None

    @property
    def path(self) -> bytes:
        return join(self.folder, self.name)
