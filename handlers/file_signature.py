"""What tells one state of a file from another without reading it."""

from __future__ import annotations

import os
from typing import NamedTuple

from handlers.paths import join

SIGNED_64 = (1 << 63) - 1  # SQLite's integers; inodes and far-off times can be larger


class FileSignature(NamedTuple):
    """Equal stamps: the same bytes. `ctime_ns` also sees an edit that put size and mtime back."""

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

    def same_content(self, other: FileSignature) -> bool:
        """The same file under another name: a rename or a hard link changes nothing but the ctime."""
        return (self.size, self.mtime_ns, self.inode) == (other.size, other.mtime_ns, other.inode)


class Found(NamedTuple):
    """A regular file that a scan saw. `device` is its folder's, since overlay file systems lie about a file's."""

    folder: bytes
    name: bytes
    signature: FileSignature
    device: int

    @property
    def path(self) -> bytes:
        return join(self.folder, self.name)
