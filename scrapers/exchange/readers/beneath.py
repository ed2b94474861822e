"""Reading files that a dataset names: only below its own folder, never through a link, never more than allowed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import SkipItemError

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


def parts_of(path: str) -> list[str]:
    """The parts of a relative path. Raises SkipItemError when it leads out of its folder, or is none."""
    if "://" in path:
        raise SkipItemError("is a web address; download the pictures first, for example with img2dataset")
    if path.startswith("/") or "\x00" in path:
        raise SkipItemError("is not a path below the dataset's folder")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise SkipItemError("leads out of the dataset's folder")
    return parts


def read_beneath(root: Path, path: str, max_bytes: int) -> bytes:
    """All bytes of a regular file below `root`. Raises SkipItemError with the reason."""
    with _open_beneath(root, parts_of(path)) as descriptor:
        size = _size_of(descriptor, max_bytes)
        data = bytearray()
        while len(data) <= size and (chunk := os.read(descriptor, 1 << 20)):
            data += chunk
    if len(data) != size:
        raise SkipItemError("changed while it was read")
    return bytes(data)


def version_beneath(root: Path, path: str) -> str:
    """Size and time of a file below `root`; empty when it cannot be read: reading it says why."""
    try:
        with _open_beneath(root, parts_of(path)) as descriptor:
            found = os.fstat(descriptor)
    except SkipItemError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


@contextmanager
def _open_beneath(root: Path, parts: list[str]) -> Iterator[int]:
    """Each part is opened in the folder before it, so that no link can be put in between."""
    held = []
    try:
        held.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for part in parts[:-1]:
            held.append(os.open(part, FOLDER_FLAGS, dir_fd=held[-1]))
        held.append(os.open(parts[-1], FILE_FLAGS, dir_fd=held[-1]))
        yield held[-1]
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise SkipItemError("is, or lies behind, a symbolic link or no folder; links are not followed") from error
        raise SkipItemError(f"cannot be read: {os.strerror(error.errno or errno.EIO)}") from error
    finally:
        for descriptor in held:
            os.close(descriptor)


def _size_of(descriptor: int, max_bytes: int) -> int:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise SkipItemError("is no regular file")
    if found.st_size > max_bytes:
        raise SkipItemError(f"has {found.st_size} bytes, at most {max_bytes} are allowed")
    return found.st_size
