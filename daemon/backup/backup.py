"""`exposr-trainer backup DIR` and `restore DIR`: all that cannot be made again, consistent while the service runs.

Order makes it consistent, not a lock on the service: state first (SQLite's own backup, a moment in time), then models
under the registry's lock, then images, and their metadata last. So no item is noted as collected without its image in
the backup, and no image comes without its label; what is newer than that, the next collection fetches again.
Left out, since they are made again: embeddings, job folders, locks; and who has signed out of the console, since a
backup would forget who did so later.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from daemon.backup.files import (
    Manifest,
    SavedFile,
    copy_file,
    damage,
    read_manifest,
    regular_files,
    write_manifest,
)
from daemon.monitoring.disk import disk_usage
from daemon.state.lock import StateLock
from exposr_api.signin.signed_out import SESSIONS_FILE
from trainer.publishing.registry import LOCK_FILE, STAGING_PREFIX, Registry
from utils.clock import Clock, SystemClock, to_iso
from utils.config_loader import Config
from utils.data_folder import MARKER_NAME
from utils.errors import OperatorError
from utils.files import sha256_of_file
from utils.metadata import META_FOLDER
from utils.version import VERSION

NOT_SAVED = ("jobs", "embeddings", "thumbnails", "lock", SESSIONS_FILE)  # of the state folder
DATABASE_SUFFIXES = (".sqlite", ".sqlite-wal", ".sqlite-shm", ".sqlite-journal")
ATTEMPTS = 3  # at a file that changes while it is copied
GB = 1_000_000_000

Progress = Callable[[int, str], None]  # files done, the file under way


def _no_progress(done: int, path: str) -> None:
    pass


def back_up(config: Config, folder: Path, progress: Progress = _no_progress, clock: Clock | None = None) -> str:
    """Copy data, models, state and the service's own keys into `folder`, and say what was copied.

    Raises OperatorError when the folder is unsuitable or too small for it.
    """
    roots = _roots(config)
    _check_target(folder, roots)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    saved: list[SavedFile] = []
    left_out: list[str] = []
    for file in _take_all(roots, folder, left_out):
        saved.append(file)
        progress(len(saved), file.path)
    manifest = Manifest(to_iso((clock or SystemClock()).now()), VERSION, tuple(saved), tuple(left_out))
    write_manifest(folder, manifest)
    amount = f"{len(saved)} files, {manifest.size_bytes() / GB:.2f} GB"
    missed = [f"left out: {line}" for line in left_out]
    return "\n".join([f"{folder}: {amount}, keys included: keep it where nobody else can read", *missed])


def restore(config: Config, folder: Path, progress: Progress = _no_progress) -> str:
    """Check the backup whole, then put it where `config` says. The service must not run, and nothing may be there yet.

    Raises OperatorError before anything is written when a file of the backup is damaged or the places are not empty.
    """
    roots = _roots(config)
    manifest = read_manifest(folder)
    problems = damage(folder, manifest)
    if problems:
        raise OperatorError(f"{folder}: the backup is damaged, nothing was restored:\n  " + "\n  ".join(problems[:20]))
    for name, target in roots.items():
        occupied = next(regular_files(target, skip=("README.md", "lock", MARKER_NAME)), None)
        if occupied is not None:
            raise OperatorError(f"{target} ({name}) is not empty ({occupied}): move it away, then restore")
    lock = StateLock(roots["state"])
    lock.acquire("exposr-trainer restore")
    try:
        for done, saved in enumerate(manifest.files, start=1):
            root, *rest = PurePosixPath(saved.path).parts
            _bring_back(folder / saved.path, roots[root], roots[root].joinpath(*rest), saved)
            progress(done, saved.path)
    finally:
        lock.release()
    return f"{len(manifest.files)} files of {manifest.created} are back; the service can be started"


def _roots(config: Config) -> dict[str, Path]:
    storage = config.storage
    return {"state": storage.state_path, "models": storage.models_path, "datasets": storage.local_path}


def _check_target(folder: Path, roots: dict[str, Path]) -> None:
    place = folder.absolute()
    for name, root in roots.items():
        if root == place or root in place.parents:
            raise OperatorError(f"{folder}: lies inside {root} ({name}); a backup belongs on another disk")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OperatorError(f"{folder}: is not empty; give each backup a new folder, for example with the date")
    needed = sum(_size(file) for root in roots.values() for file in regular_files(root, skip=NOT_SAVED))
    free = disk_usage(place).free_bytes
    if needed > free:
        raise OperatorError(f"{folder}: {needed / GB:.1f} GB are needed, {free / GB:.1f} GB are free there")


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0


def _take_all(roots: dict[str, Path], folder: Path, left_out: list[str]) -> Iterator[SavedFile]:
    state, models, datasets = roots["state"], roots["models"], roots["datasets"]
    yield from _take_databases(state, folder / "state")
    others = (file for file in regular_files(state, skip=NOT_SAVED) if not file.name.endswith(DATABASE_SUFFIXES))
    yield from _take("state", state, folder, others, left_out)
    if models.is_dir():
        with Registry(models).unchanging():
            finished = (file for file in regular_files(models) if not _is_staging(file.relative_to(models)))
            yield from _take("models", models, folder, finished, left_out)
    yield from _take("datasets", datasets, folder, regular_files(datasets, skip=(META_FOLDER,)), left_out)
    yield from _take("datasets", datasets, folder, regular_files(datasets / META_FOLDER), left_out)


def _is_staging(path: Path) -> bool:
    return path.name == LOCK_FILE or any(part.startswith(STAGING_PREFIX) for part in path.parts)


def _take_databases(state: Path, target: Path) -> Iterator[SavedFile]:
    for file in sorted(state.glob("*.sqlite")):
        copy = target / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch(mode=0o600)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as sink:
            source.backup(sink)
            sink.execute("PRAGMA journal_mode = DELETE")  # one file, whole in itself
        stat = copy.stat()
        yield SavedFile(f"state/{file.name}", stat.st_size, sha256_of_file(copy), 0o600, stat.st_mtime_ns)


def _take(name: str, root: Path, folder: Path, files: Iterable[Path], left_out: list[str]) -> Iterator[SavedFile]:
    for file in files:
        path = f"{name}/{file.relative_to(root).as_posix()}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                yield copy_file(file, folder / path, path)
                break
            except FileNotFoundError:
                break  # deleted or renamed since it was listed
            except InterruptedError as error:
                if attempt == ATTEMPTS:
                    left_out.append(str(error))
            except PermissionError as error:
                left_out.append(f"{path}: {error.strerror}")
                break


def _bring_back(source: Path, root: Path, target: Path, saved: SavedFile) -> None:
    # what a crash of the restore leaves is a file too few, which a second restore refuses to overwrite
    copy = target.with_name(f".{target.name}.part")
    if copy_file(source, copy, saved.path).sha256 != saved.sha256:
        copy.unlink()
        raise OperatorError(f"{source}: changed since it was checked")
    copy.chmod(saved.mode)
    copy.replace(target)
    if os.geteuid() == 0:  # everything belongs to whom the folder belongs
        owner = root.stat()
        for path in (target, *(parent for parent in target.parents if root in parent.parents)):
            os.chown(path, owner.st_uid, owner.st_gid)
