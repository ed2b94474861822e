"""What the command line does with the data: label a picture, list what is not used, rebuild the index."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from handlers.index import queries
from handlers.index.rows import Counts, Problem
from handlers.index.schema import INDEX_FILE, connect_reader
from handlers.label_rules import source_of_place
from handlers.paths import is_scraped_place
from handlers.reconcile import Reconciler, remove_index
from utils.clock import SystemClock, to_iso
from utils.config_loader import Config
from utils.data_folder import require_data_folder
from utils.errors import OperatorError
from utils.files import sha256_of_file
from utils.metadata import META_FOLDER, Label, Metadata, metadata_path, read_metadata, update_metadata, write_metadata

PROGRESS_SECONDS = 0.5


def set_label(config: Config, path_or_id: str, label: Label | None) -> Metadata:
    """`write_label`, and what the metadata says then."""
    return read_metadata(write_label(config, path_or_id, label))


def write_label(config: Config, path_or_id: str, label: Label | None) -> Path:
    """Write a person's label into the metadata of a picture, named by its id or its path; None: unlabeled on purpose.

    Returns the metadata file. A running daemon notices it; without one, the next start does. Raises OperatorError when
    there is no such picture, SkipItemError when its metadata is broken.
    """
    root = config.storage.local_path
    image = _image_named(root, path_or_id)
    file = _metadata_file(config, path_or_id, image)
    if file is not None:
        update_metadata(file, label=label, label_source="person")
        return file
    if image is None:
        raise OperatorError(f"{path_or_id}: neither a picture under {root} nor the id of one")
    return _describe(root, image, label)


def list_problems(config: Config, limit: int = 1000) -> list[Problem]:
    """Files that are not used, by the index as it is; empty when there is no index yet."""
    try:
        with contextlib.closing(connect_reader(config.storage.state_path / INDEX_FILE)) as db:
            return queries.list_problems(db, limit)
    except sqlite3.OperationalError:
        return []


def reindex(config: Config, progress: Callable[[int, int], None] = lambda done, total: None) -> Counts:
    """Forget the index and make it anew from the files; `progress` gets files judged and files seen.

    The caller holds the state's lock: no daemon may be running.
    """
    require_data_folder(config.storage.local_path, config.storage.state_path)
    remove_index(config.storage.state_path)
    news = threading.Event()
    reconciler = Reconciler(config, SystemClock(), news.set)
    try:
        reconciler.compare_all()
        total = reconciler.count().pending
        while not reconciler.is_settled():
            progress(total - reconciler.count().pending, total)
            reconciler.advance()
            news.wait(PROGRESS_SECONDS)
            news.clear()
        progress(total, total)
        return reconciler.count()
    finally:
        reconciler.close()


def _image_named(root: Path, text: str) -> Path | None:
    """A regular file under the data folder, named from here or from there."""
    for candidate in (Path(text), root / text):
        with contextlib.suppress(OSError, ValueError):
            resolved = candidate.parent.resolve() / candidate.name
            if resolved.is_relative_to(root.resolve()) and resolved.is_file() and not resolved.is_symlink():
                return resolved
    return None


def _metadata_file(config: Config, text: str, image: Path | None) -> Path | None:
    """By the index; where that knows nothing, by the name that scraped pictures share with their metadata."""
    root = config.storage.local_path
    sample_id = _sample_id(config, image) if image is not None else text
    is_scraped = image is not None and is_scraped_place(os.fsencode(image.relative_to(root.resolve())))
    names = [sample_id, image.stem if image is not None and is_scraped else None]
    for name in filter(None, names):
        found = sorted((root / META_FOLDER).glob(f"*/*/*/{_literal(name)}.json"))
        if found:
            return found[-1]
    return None


def _sample_id(config: Config, image: Path) -> str | None:
    path = os.fsencode(image.relative_to(config.storage.local_path.resolve()))
    folder, _, name = path.rpartition(b"/")
    try:
        with contextlib.closing(connect_reader(config.storage.state_path / INDEX_FILE)) as db:
            row = db.execute("SELECT sample FROM files WHERE folder = ? AND name = ?", (folder, name)).fetchone()
    except sqlite3.OperationalError:
        return None
    return None if row is None else row[0]


def _describe(root: Path, image: Path, label: Label | None) -> Path:
    """The first metadata file of a picture that the index has not seen yet."""
    now = SystemClock().now()
    path = os.fsencode(image.relative_to(root.resolve()))
    metadata = Metadata(
        id=str(uuid.uuid4()),
        source=source_of_place(path),
        label=label,
        label_source="person",
        timestamp=to_iso(now),
        path=os.fsdecode(path),
        sha256=sha256_of_file(image),
    )
    file = metadata_path(root, metadata.id, now)
    write_metadata(file, metadata, below=root)
    return file


def _literal(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
