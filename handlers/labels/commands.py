"""What the command line does with the data: label a picture, list what is not used, rebuild the index."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from handlers.file_signature import FileSignature
from handlers.index import queries
from handlers.index.rows import Counts, FileState, Problem
from handlers.index.schema import INDEX_FILE, connect_reader, remove_index
from handlers.labels import folders
from handlers.labels.history import HISTORY_FILE, Entry, LabelHistory, open_history, standing
from handlers.labels.rules import source_of_place
from handlers.metadata_files import is_digest
from handlers.paths import folder_label, is_scraped_place, printable
from handlers.reconcile import Reconciler
from utils.clock import SystemClock, to_iso
from utils.config_loader import Config
from utils.data_folder import require_data_folder
from utils.errors import OperatorError, SkipItemError
from utils.files import sha256_of_file
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckFailure, CheckLimits
from utils.metadata import (
    META_FOLDER,
    Label,
    LabelSource,
    Metadata,
    metadata_path,
    new_sample_id,
    read_metadata,
    update_metadata,
    write_metadata,
)

PROGRESS_SECONDS = 0.5


def set_label(
    config: Config, path_or_id: str, label: Label | None, *, note: str | None = None, way: str = "command"
) -> Metadata:
    """`write_label` for a file that somebody names, and what the metadata says then.

    Raises OperatorError also when the file is there and cannot be used.
    """
    image = _image_named(config.storage.local_path, path_or_id)
    if image is not None:
        _require_usable(config, image)
    return read_metadata(write_label(config, path_or_id, label, note=note, way=way))


def write_label(
    config: Config, path_or_id: str, label: Label | None, *, note: str | None = None, way: str = "command"
) -> Path:
    """A person's word about a picture, named by its id or its path; None: unlabeled on purpose. The one way to say it.

    It goes into the history of labels, by content, and into the picture's metadata file, which is returned. A running
    daemon notices it; without one, the next start does. `way` says where it was said. Raises OperatorError when there
    is no such picture, SkipItemError when its metadata is broken.
    """
    image, file = _find(config, path_or_id)
    before = read_metadata(file) if file is not None else None
    sha256 = _content(config, image, before)
    entry = Entry(
        at=to_iso(SystemClock().now()),
        action="label",
        label=label,
        note=note,
        way=way,
        before_label=before.label if before is not None else None,
        before_source=before.label_source if before is not None else None,
    )
    with _history(config) as history:
        history.add(sha256, entry)
        try:
            if file is None:
                assert image is not None
                file = _describe(config.storage.local_path, image, sha256)
            update_metadata(file, label=label, label_source="person", note=note)
        except BaseException:
            history.add(sha256, Entry(entry.at, "undo", way=way))
            raise
    return file


def undo_label(config: Config, path_or_id: str, *, way: str = "command") -> Metadata:
    """Take back the last label that a person gave; what was said before it counts again.

    Raises OperatorError when no person has said anything that still stands.
    """
    image, file = _find(config, path_or_id)
    now = read_metadata(file) if file is not None else None
    sha256 = _content(config, image, now)
    with _history(config) as history:
        stack = standing(history.entries(sha256))
        if not stack or file is None or now is None:
            raise OperatorError(f"{path_or_id}: it has no label by a person")
        *earlier, last = stack
        label, source = _before(last, earlier, now)
        note = (earlier[-1].note if earlier else None) or ("" if last.note else None)
        update_metadata(file, label=label, label_source=source, note=note)
        history.add(sha256, Entry(to_iso(SystemClock().now()), "undo", way=way))
    return read_metadata(file)


def label_history(config: Config, path_or_id: str) -> list[Entry]:
    """What people have said about a picture, oldest first. Raises OperatorError when there is no such picture."""
    image, file = _find(config, path_or_id)
    sha256 = _content(config, image, read_metadata(file) if file is not None else None)
    with _history(config) as history:
        return history.entries(sha256)


def list_problems(config: Config, limit: int = 1000) -> list[Problem]:
    """Files that are not used, by the index as it is; empty when there is no index yet."""
    try:
        with contextlib.closing(connect_reader(config.storage.state_path / INDEX_FILE)) as db:
            return queries.list_problems(db, limit)
    except sqlite3.OperationalError:
        return []


def unlabelled_folders(config: Config, limit: int) -> list[tuple[str, int]]:
    """The folders with most pictures that carry no label, and how many; by the index as it is."""
    try:
        with contextlib.closing(connect_reader(config.storage.state_path / INDEX_FILE)) as db:
            return queries.unlabelled_folders(db, limit)
    except sqlite3.OperationalError:
        return []


def reindex(config: Config, progress: Callable[[int, int], None] = lambda done, total: None) -> Counts:
    """Forget the index and make it anew from the files; `progress` gets files judged and files seen.

    The caller holds the state's lock: no daemon may be running.
    """
    require_data_folder(config.storage.local_path, config.storage.state_path)
    remove_index(config.storage.state_path)
    return bring_up_to_date(config, progress)


def bring_up_to_date(config: Config, progress: Callable[[int, int], None] = lambda done, total: None) -> Counts:
    """Compare the files with the index and check what is new; under the state's lock, like `reindex`."""
    require_data_folder(config.storage.local_path, config.storage.state_path)
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


def _find(config: Config, path_or_id: str) -> tuple[Path | None, Path | None]:
    """The picture's file, where it was named by its path, and its metadata file, where there is one; never neither."""
    folders.adopt(config.intake)
    root = config.storage.local_path
    image = _image_named(root, path_or_id)
    file = _metadata_file(config, path_or_id, image)
    if file is None and image is None:
        raise OperatorError(f"{path_or_id}: neither a picture under {root} nor the id of one")
    return image, file


def _content(config: Config, image: Path | None, metadata: Metadata | None) -> str:
    """The picture's sha256: of its bytes, else as its metadata says."""
    root = config.storage.local_path
    place = image if image is not None or metadata is None else _image_named(root, metadata.path)
    if place is not None:
        return sha256_of_file(place)
    if metadata is not None and is_digest(metadata.sha256):
        return metadata.sha256.lower()
    raise OperatorError(f"its picture was not found under {root}")


def _before(last: Entry, earlier: list[Entry], now: Metadata) -> tuple[Label | None, LabelSource | None]:
    """Label and its source once `last` is taken back. A folder's label is that of the folder it lies in now."""
    if earlier:
        return earlier[-1].label, "person"
    if last.before_source in ("source", "person"):
        return last.before_label, last.before_source
    folder = folder_label(os.fsencode(now.path))
    return folder, "folder" if folder else None


def _image_named(root: Path, text: str) -> Path | None:
    """A regular file under the data folder, named from here or from there."""
    for candidate in (Path(text), root / text):
        with contextlib.suppress(OSError, ValueError):
            resolved = candidate.parent.resolve() / candidate.name
            if resolved.is_relative_to(root.resolve()) and resolved.is_file() and not resolved.is_symlink():
                return resolved
    return None


def _metadata_file(config: Config, text: str, image: Path | None) -> Path | None:
    """By the index; where that knows nothing, by the name that scraped pictures share with their metadata, then by
    content: a second file about one picture would stay."""
    root = config.storage.local_path
    sample_id = _sample_id(config, image) if image is not None else text
    is_scraped = image is not None and is_scraped_place(os.fsencode(image.relative_to(root.resolve())))
    names = [sample_id, image.stem if image is not None and is_scraped else None]
    for name in filter(None, names):
        known = _indexed_metadata(config, name)
        if known is not None:
            return known
        found = sorted((root / META_FOLDER).glob(f"*/*/*/{_literal(name)}.json"))
        if found:
            return found[-1]
    return _metadata_about(config, sha256_of_file(image)) if image is not None else None


def _metadata_about(config: Config, sha256: str) -> Path | None:
    """The newest metadata file about this content. Without an index it reads all of them, which takes long."""
    root = config.storage.local_path
    with _index(config) as db:
        if db is not None:
            files = [root / path for path in queries.metadata_about(db, sha256)]
        else:
            files = [file for file in sorted((root / META_FOLDER).glob("*/*/*/*.json")) if _is_about(file, sha256)]
    return next((file for file in reversed(files) if file.is_file()), None)


def _is_about(file: Path, sha256: str) -> bool:
    try:
        return read_metadata(file).sha256.lower() == sha256
    except SkipItemError:
        return False


@contextlib.contextmanager
def _history(config: Config) -> Iterator[LabelHistory]:
    try:
        with contextlib.closing(open_history(config.storage.state_path)) as history:
            yield history
    except sqlite3.Error as error:
        file = config.storage.state_path / HISTORY_FILE
        raise OperatorError(f"{file}: cannot be used now ({error}); try again") from error


@contextlib.contextmanager
def _index(config: Config) -> Iterator[sqlite3.Connection | None]:
    """A reader's connection; None where there is no index. Raises OperatorError when it cannot be read now."""
    file = config.storage.state_path / INDEX_FILE
    if not file.is_file():
        yield None
        return
    try:
        with contextlib.closing(connect_reader(file)) as db:
            yield db
    except sqlite3.Error as error:
        raise OperatorError(f"{file}: cannot be read now ({error}); nothing was changed, try again") from error


def _indexed_metadata(config: Config, name: str) -> Path | None:
    """The newest metadata file of this name that the index knows, if it is there: listing all of meta/ takes long."""
    with _index(config) as db:
        found = queries.metadata_file(db, printable(name)) if db is not None else None
    file = config.storage.local_path / found if found is not None else None
    return file if file is not None and file.is_file() else None


def _sample_id(config: Config, image: Path) -> str | None:
    row = _indexed(config, image)
    return None if row is None else row[0]


def _indexed(config: Config, image: Path) -> tuple[str | None, FileState, FileSignature] | None:
    """Sample, state and signature of a file that the index knows."""
    path = os.fsencode(image.relative_to(config.storage.local_path.resolve()))
    with _index(config) as db:
        return queries.tracked_file(db, path) if db is not None else None


def _require_usable(config: Config, image: Path) -> None:
    """By the index, else by the file itself: a label on what does not count would only look like success."""
    row = _indexed(config, image)
    if row is not None and row[1] == "good" and row[2] == FileSignature.of(image.lstat()):
        return
    intake = config.intake
    limits = CheckLimits.from_settings(intake)
    with CheckPool(1, limits, intake.check_timeout_seconds, intake.check_memory_mb) as pool:
        result = pool.submit(image).result()
    if isinstance(result, CheckFailure):
        raise OperatorError(f"{image}: cannot be labelled, because it is not used: {result.reason}")


def _describe(root: Path, image: Path, sha256: str) -> Path:
    """First metadata of a picture that the index has not seen yet."""
    now = SystemClock().now()
    path = os.fsencode(image.relative_to(root.resolve()))
    metadata = Metadata(
        id=new_sample_id(now),
        source=source_of_place(path),
        label=None,
        timestamp=to_iso(now),
        path=os.fsdecode(path),
        sha256=sha256,
    )
    file = metadata_path(root, metadata.id, now)
    write_metadata(file, metadata, below=root)
    return file


def _literal(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
