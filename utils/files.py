"""Writing files that other processes read: beside their place, flushed, renamed. A reader never needs a lock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

PART_SUFFIX = ".part"  # what watcher and reconcile ignore
SET_ASIDE_SUFFIX = ".set-aside"  # a damaged file, kept
COPY_CHUNK_BYTES = 1 << 20


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder_below(root: Path, folder: Path) -> None:
    """`mkdir -p`, but `root` itself is never made: raises FileNotFoundError when it is not there."""
    if folder == root:
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not there")
        return
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        make_folder_below(root, folder.parent)
        folder.mkdir(exist_ok=True)


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True, below: Path | None = None
) -> None:
    """Put `data` at `path` so that a reader, or a crash, sees the old file or the new one and never a mixture.

    Not `durable`: no flush to disk, for what can be made again after a power cut (a crash of ours still loses nothing).
    `below`: a folder that is not to be made when it is missing, though those between it and `path` are.
    """
    with open_atomically(path, mode=mode, durable=durable, below=below) as stream:
        stream.write(data)


@contextlib.contextmanager
def open_atomically(
    path: Path, *, mode: int = 0o644, durable: bool = True, below: Path | None = None
) -> Iterator[BinaryIO]:
    """The same for what is written piece by piece; when the block raises, nothing has changed."""
    if below is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        make_folder_below(below, path.parent)
    part = path.parent / f".{uuid.uuid4().hex}{PART_SUFFIX}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    if durable:
        fsync_folder(path.parent)


def write_json_atomically(
    path: Path, value: Any, *, mode: int = 0o644, durable: bool = True, below: Path | None = None
) -> None:
    """`write_atomically` of indented UTF-8 JSON; refuses NaN and infinity."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    # lone surrogates occur in prompts and names; they become "?" rather than an error at the disk
    write_atomically(path, (text + "\n").encode("utf-8", "replace"), mode=mode, durable=durable, below=below)


def set_aside_name(file: Path) -> Path:
    """Where a damaged file is kept; the one kept before it is replaced."""
    return file.with_name(f"{file.name}{SET_ASIDE_SUFFIX}")


def sha256_of_file(path: Path) -> str:
    """Lower-case hex SHA-256 of the file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
