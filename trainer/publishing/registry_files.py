"""What the registry keeps on disk: reading it back, naming it safely, flushing and locking it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from utils.clock import from_iso
from utils.errors import OperatorError, StopRunError
from utils.files import fsync_folder, sha256_of_file

WEIGHTS_FILE = "weights.pt"
CARD_FILE = "model.json"
MEDIA_TYPES = {".json": "application/json", ".jsonl": "application/x-ndjson", ".html": "text/html; charset=utf-8"}

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
VERSION = re.compile(r"v([1-9][0-9]{0,8})")
STAGED = re.compile(r"\.staging-v([1-9][0-9]{0,8})-[0-9a-f]+")

Entry = dict[str, Any]
"""One version in registry.json: the integration guide's fields, `sha256` and `size_bytes` of the weights, `files`
(name -> sha256 and size_bytes of every published file), `serial`, and what the gate measured."""

FileFacts = dict[str, Any]
"""`sha256` and `size_bytes` of one file."""


def moment_of(text: Any) -> datetime | None:
    """A time of the registry; None when it is missing or none."""
    try:
        return from_iso(text)
    except (TypeError, ValueError):
        return None


def read_entries(file: Path) -> list[Entry]:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OperatorError(
            f"{file}: cannot be read ({error}); restore it from a backup, nothing was changed"
        ) from error
    texts = ("model", "version")
    if not isinstance(raw, list) or not all(
        isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in texts) for entry in raw
    ):
        raise OperatorError(
            f"{file}: is not a JSON array of versions (objects with model and version); restore it from a backup, "
            "nothing was changed"
        )
    return raw


def name_of(entry: Entry) -> str:
    return f"{entry['model']}/{entry['version']}"


def named_files(entry: Entry) -> dict[str, FileFacts]:
    """The files an entry names; an entry in the integration guide's bare form names its weights and card."""
    files = entry.get("files")
    if isinstance(files, dict):
        return files
    weights: FileFacts = {key: entry[key] for key in ("sha256", "size_bytes") if key in entry}
    return {WEIGHTS_FILE: weights, CARD_FILE: {}}


def check_names(model: str, version: str) -> None:
    if not SAFE_NAME.fullmatch(model):
        raise OperatorError(f"{model!r} is no model name: letters, digits, '.', '_' and '-' only")
    if not VERSION.fullmatch(version):
        raise OperatorError(f"{version!r} is no version: v1, v2, …")


def flush_files(staged: Path) -> dict[str, FileFacts]:
    """Put every staged file on the disk for good; returns their sha256 and size_bytes by name."""
    files: dict[str, FileFacts] = {}
    for path in sorted(staged.iterdir()):
        if path.is_symlink() or not path.is_file() or not SAFE_NAME.fullmatch(path.name):
            raise StopRunError(f"{path}: only plain files with plain names can be published")
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        files[path.name] = {"sha256": sha256_of_file(path), "size_bytes": path.stat().st_size}
    fsync_folder(staged)
    return files


def lock_folder(folder: Path) -> int:
    """A descriptor that holds the folder's lock; the kernel lets go of it when the process dies. Raises when taken."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def remove_unless_locked(staged: Path) -> bool:
    if staged.is_symlink() or not staged.is_dir():
        staged.unlink()
        return True
    try:
        descriptor = lock_folder(staged)
    except BlockingIOError:
        return False
    try:
        shutil.rmtree(staged)
    finally:
        os.close(descriptor)
    return True
