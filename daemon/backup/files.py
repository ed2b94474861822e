"""The files of a backup: what is taken, the manifest that proves it, and copying that hashes what it copies.

DIR/manifest.json     written last: a folder without it is no backup
DIR/state/  DIR/models/  DIR/datasets/
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from stat import S_IMODE
from typing import Any

from utils.errors import OperatorError
from utils.files import PART_SUFFIX, write_json_atomically

MANIFEST_FILE = "manifest.json"
FORMAT = 1
CHUNK_BYTES = 1 << 20
ROOTS = ("state", "models", "datasets")


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file; `path` is relative to the backup, with `/`, and begins with one of ROOTS."""

    path: str
    size_bytes: int
    sha256: str
    mode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    created: str
    version: str
    files: tuple[SavedFile, ...]
    left_out: tuple[str, ...]  # files that changed or could not be read, each with the reason

    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def regular_files(folder: Path, skip: Iterable[str] = ()) -> Iterator[Path]:
    """Files below `folder`, sorted; no symlinks, no unfinished files, none of the top names in `skip`."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name in skip or entry.name.endswith(PART_SUFFIX):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from regular_files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def copy_file(source: Path, target: Path, path: str) -> SavedFile:
    """Copy bytes, mode and modification time, to a file that only its owner can read until it is complete.

    Raises OSError; a source that changes in the meantime is an InterruptedError.
    """
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as reading:
        before = os.fstat(descriptor)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as writing:
            while chunk := reading.read(CHUNK_BYTES):
                digest.update(chunk)
                writing.write(chunk)
            writing.flush()
            os.fchmod(writing.fileno(), S_IMODE(before.st_mode) & 0o777)
            os.fsync(writing.fileno())
        after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        target.unlink()
        raise InterruptedError(f"{source}: changed while it was copied")
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    return SavedFile(path, after.st_size, digest.hexdigest(), S_IMODE(before.st_mode) & 0o777, before.st_mtime_ns)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json_atomically(folder / MANIFEST_FILE, {"format": FORMAT, **asdict(manifest)}, mode=0o600)


def read_manifest(folder: Path) -> Manifest:
    """Raises OperatorError when `folder` holds no complete backup, or one that points outside of itself."""
    file = folder / MANIFEST_FILE
    try:
        raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise OperatorError(f"{file}: format {raw['format']!r} is not known to this version, which reads {FORMAT}")
        files = tuple(SavedFile(**entry) for entry in raw["files"])
        manifest = Manifest(str(raw["created"]), str(raw["version"]), files, tuple(raw["left_out"]))
    except FileNotFoundError:
        raise OperatorError(f"{folder}: no complete backup, {MANIFEST_FILE} is missing") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"{file}: cannot be read: {error!r}") from error
    for saved in manifest.files:
        parts = PurePosixPath(saved.path).parts
        if len(parts) < 2 or parts[0] not in ROOTS or ".." in parts:
            raise OperatorError(f"{file}: {saved.path!r} is not a path inside a backup")
    return manifest


def damage(folder: Path, manifest: Manifest) -> list[str]:
    """What is wrong with the backup's files, each in words; reads them all."""
    problems = []
    for saved in manifest.files:
        file = folder / saved.path
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            problems.append(f"{saved.path}: {error.strerror}")
            continue
        if digest != saved.sha256:
            problems.append(f"{saved.path}: its bytes are not those that were saved")
    return problems
