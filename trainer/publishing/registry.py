"""The registry: published versions, the aliases that name them, and how a version becomes visible.

    models/registry.json            a JSON array, oldest first, of published versions only
    models/aliases.json             {"serial": 4, "champion": "vit/v3", "previous": "vit/v2", "since": "…Z"}
    models/.aliases.json            its copy, for when it is damaged
    models/<model>/vN/              a version; never changes once it is there
    models/<model>/.staging-vN-…    a version in the making, locked by the process that makes it
    models/.journal.json            the change that is being made; whoever comes next after a crash finishes it

Every change is one writer's at a time (`.lock`). A change of several files is written to the journal first, its point
of no return: before it, a crash leaves a staging folder that `sweep` removes; after it, the change is replayed.
Readers take no lock and see the state before or after. Imports neither torch nor numpy.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from trainer.publishing.aliases import Aliases, complete_copy, read_aliases, write_aliases
from trainer.publishing.registry_files import (
    MEDIA_TYPES,
    SAFE_NAME,
    STAGED,
    VERSION,
    WEIGHTS_FILE,
    Entry,
    check_names,
    flush_files,
    lock_folder,
    moment_of,
    name_of,
    named_files,
    read_entries,
    remove_unless_locked,
)
from utils.clock import Clock, SystemClock
from utils.errors import OperatorError, StopRunError
from utils.files import PART_SUFFIX, fsync_folder, sha256_of_file, write_atomically, write_json_atomically

REGISTRY_FILE = "registry.json"
JOURNAL_FILE = ".journal.json"
LOCK_FILE = ".lock"
COUNTER_FILE = ".last_version"  # the highest number ever given out, published or not
STAGING_PREFIX = ".staging-"


@dataclass(frozen=True, slots=True)
class PublishedFile:
    path: Path
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, slots=True)
class InService:
    """`since`: when `entry` was put in service, ISO 8601 in UTC: the end of its training, or a later promotion or
    roll-back. It is later with each change, so that whoever compares times notices a roll-back, too."""

    entry: Entry | None
    serial: int
    since: str | None


class Registry:
    """All reading and changing of `models/`. Reading is cheap enough for every request."""

    def __init__(self, models_path: Path, clock: Clock | None = None) -> None:
        self.models_path = models_path
        self._clock = clock or SystemClock()
        self._cached: tuple[tuple[int, int, int], list[Entry]] | None = None
        self._staging_locks: dict[Path, int] = {}

    # reading

    def entries(self) -> list[Entry]:
        """The published versions, oldest first. Raises OperatorError when registry.json is not what it must be."""
        file = self.models_path / REGISTRY_FILE
        try:
            stat = file.stat()
        except FileNotFoundError:
            return []
        signature = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if self._cached is None or self._cached[0] != signature:
            self._cached = (signature, read_entries(file))
        return [dict(entry) for entry in self._cached[1]]

    def entry(self, model: str, version: str) -> Entry | None:
        return next((entry for entry in self.entries() if name_of(entry) == f"{model}/{version}"), None)

    def published_by(self, run: str) -> Entry | None:
        """The version that this run has published."""
        return next((entry for entry in self.entries() if run and entry.get("run") == run), None)

    def in_service(self) -> InService:
        """The version in service, its serial and its time, as one state: what the alias names, else the newest."""
        aliases = self._aliases(self.entries())
        entries = self.entries()  # after the aliases: a version that was published meanwhile is not missed
        found = next(
            (entry for entry in entries if name_of(entry) == aliases.champion), entries[-1] if entries else None
        )
        since = aliases.since or (str(found["timestamp"]) if found and found.get("timestamp") else None)
        return InService(found, aliases.serial, since)

    def champion(self) -> Entry | None:
        """The version in service."""
        return self.in_service().entry

    def previous(self) -> Entry | None:
        """The version that was in service before the champion."""
        entries = self.entries()
        named = self._aliases(entries).previous
        return next((entry for entry in entries if name_of(entry) == named), None)

    def serial(self) -> int:
        return self._aliases(self.entries()).serial

    def version_folder(self, model: str, version: str) -> Path:
        check_names(model, version)
        return self.models_path / model / version

    def published_file(self, model: str, version: str, name: str) -> PublishedFile | None:
        """One file of a published version, or None: unknown, not named by its entry, a link, or not of its size."""
        if not all(SAFE_NAME.fullmatch(part) for part in (model, version, name)):
            return None
        entry = self.entry(model, version)
        if entry is None:
            return None
        folder = self.models_path / model / version
        path = folder / name
        facts = named_files(entry).get(name)
        try:
            if not S_ISDIR(folder.parent.lstat().st_mode) or not S_ISDIR(folder.lstat().st_mode):
                return None
            stat = path.lstat()
            if facts is None or not S_ISREG(stat.st_mode):
                return None
            sha256 = facts.get("sha256") or sha256_of_file(path)
        except OSError:
            return None
        if facts.get("size_bytes", stat.st_size) != stat.st_size:
            return None
        return PublishedFile(path, sha256, stat.st_size, MEDIA_TYPES.get(path.suffix, "application/octet-stream"))

    # making a version

    def reserve_version(self, model: str) -> str:
        """The next number of `model`, as "v3"; no number is given out twice, whether it came to be published or not."""
        check_names(model, "v1")
        with self._changing():
            folder = self.models_path / model
            folder.mkdir(exist_ok=True)
            number = max(self._numbers(model), default=0) + 1
            write_atomically(folder / COUNTER_FILE, f"{number}\n".encode())
        return f"v{number}"

    def stage(self, model: str, version: str) -> Path:
        """A new empty folder for the version's files, locked by this process until it is published or swept."""
        check_names(model, version)
        staged = self.models_path / model / f"{STAGING_PREFIX}{version}-{uuid.uuid4().hex[:12]}"
        with self._changing():  # so that a sweep never meets the folder before it is locked
            staged.mkdir(parents=True)
            self._staging_locks[staged] = lock_folder(staged)
        return staged

    def publish(self, staged: Path, entry: Entry) -> Entry:
        """Make the staged files visible as `entry`'s version and the champion. Returns the registered entry."""
        model, version = str(entry["model"]), str(entry["version"])
        target = self.version_folder(model, version)
        files = flush_files(staged)
        if WEIGHTS_FILE not in files:
            raise StopRunError(f"{staged}: there is no {WEIGHTS_FILE} to publish")
        with self._changing():
            entries = self.entries()
            if target.exists() or self.entry(model, version) is not None:
                raise StopRunError(f"{target}: this version is there already; published versions never change")
            finished = moment_of(entry.get("timestamp")) or self._clock.now()
            aliases = self._aliases(entries).moved_to(f"{model}/{version}", finished)
            complete = entry | files[WEIGHTS_FILE] | {"files": files, "serial": aliases.serial}
            self._write_journal(
                {"operation": "publish", "staged": staged.name, "entry": complete, "aliases": asdict(aliases)}
            )
            self._replay_journal()
        self._unlock(staged)
        return complete

    def discard(self, staged: Path) -> None:
        """Remove a staged folder that will not be published; nothing happens when it is gone."""
        shutil.rmtree(staged, ignore_errors=True)
        self._unlock(staged)

    # operating

    def promote(self, model: str, version: str) -> Entry:
        """Put a published version in service, under a new serial so that followers take it."""
        with self._changing():
            entry = self.entry(model, version)
            if entry is None:
                known = ", ".join(name_of(known) for known in self.entries()) or "nothing is published"
                raise OperatorError(f"{model}/{version} is not published; known: {known}")
            moved = self._aliases(self.entries()).moved_to(name_of(entry), self._clock.now())
            write_aliases(self.models_path, moved)
        return entry

    def rollback(self) -> Entry:
        """Put the previous champion back in service; the two change places, so a second roll-back undoes the first."""
        previous = self.previous()
        if previous is None:
            raise OperatorError("there is no previous version to roll back to; promote one by name")
        return self.promote(previous["model"], previous["version"])

    def prunable(self, keep: int) -> list[str]:
        """What `prune` would remove, as "vit/v1"."""
        if keep < 1:
            raise OperatorError(f"keep is {keep}: at least 1 version stays")
        entries = self.entries()
        aliases = self._aliases(entries)
        return [name for name in map(name_of, entries[:-keep]) if name not in (aliases.champion, aliases.previous)]

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest `keep` versions and those that an alias names. Returns what was removed."""
        with self._changing():
            removed = self.prunable(keep)
            for name in removed:
                self.version_folder(*name.split("/"))  # a name that cannot be ours stops us before anything is removed
            if removed:
                self._write_journal({"operation": "prune", "versions": removed})
                self._replay_journal()
        return removed

    def sweep(self) -> list[str]:
        """Finish or remove what crashed processes left behind. Returns what was done, in words."""
        if not self.models_path.is_dir():
            return []
        with self._changing() as done:
            complete_copy(self.models_path, self.entries())  # what cannot be read stops us before anything is removed
            folders = [folder for folder in self.models_path.iterdir() if folder.is_dir() and not folder.is_symlink()]
            for staged in sorted(path for folder in folders for path in folder.glob(f"{STAGING_PREFIX}*")):
                if remove_unless_locked(staged):
                    done.append(f"removed unfinished {staged.parent.name}/{staged.name}")
            for folder in (self.models_path, *folders):
                for part in folder.glob(f".*{PART_SUFFIX}"):
                    part.unlink()
        return done

    # state on disk

    def _aliases(self, entries: list[Entry]) -> Aliases:
        return read_aliases(self.models_path, entries)

    def _unlock(self, staged: Path) -> None:
        descriptor = self._staging_locks.pop(staged, None)
        if descriptor is not None:
            os.close(descriptor)

    def _numbers(self, model: str) -> Iterator[int]:
        for entry in self.entries():
            if entry["model"] == model and (match := VERSION.fullmatch(entry["version"])):
                yield int(match[1])
        for path in (self.models_path / model).iterdir():
            if match := VERSION.fullmatch(path.name) or STAGED.fullmatch(path.name):
                yield int(match[1])
        with suppress(FileNotFoundError, ValueError):
            yield int((self.models_path / model / COUNTER_FILE).read_text(encoding="utf-8"))

    @contextmanager
    def unchanging(self) -> Iterator[None]:
        """Hold writers off, with a crashed one's change finished first: what a backup copies is one state."""
        with self._changing():
            yield

    @contextmanager
    def _changing(self) -> Iterator[list[str]]:
        """Hold the writers' lock, with a crashed writer's change finished first; yields what that was, in words."""
        self.models_path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.models_path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self._replay_journal()
        finally:
            os.close(descriptor)

    def _write_journal(self, change: dict[str, Any]) -> None:
        write_json_atomically(self.models_path / JOURNAL_FILE, change)

    def _replay_journal(self) -> list[str]:
        """Do what the journal says, as often as it takes: every step is safe to repeat."""
        file = self.models_path / JOURNAL_FILE
        try:
            change = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise OperatorError(
                f"{file}: cannot be read ({error}); move it away, nothing published depends on it"
            ) from error
        words = self._finish_publish(change) if change["operation"] == "publish" else self._finish_prune(change)
        file.unlink()
        fsync_folder(self.models_path)
        return [words]

    def _finish_publish(self, change: dict[str, Any]) -> str:
        entry = change["entry"]
        target = self.version_folder(entry["model"], entry["version"])
        staged = target.parent / change["staged"]
        if staged.is_dir():
            staged.rename(target)
            fsync_folder(target.parent)
        if not target.is_dir():
            return f"gave up publishing {name_of(entry)}: its files are gone"
        if self.entry(entry["model"], entry["version"]) is None:
            write_json_atomically(self.models_path / REGISTRY_FILE, [*self.entries(), entry])
        write_aliases(self.models_path, Aliases(**change["aliases"]))
        return f"completed publishing {name_of(entry)}"

    def _finish_prune(self, change: dict[str, Any]) -> str:
        names = change["versions"]
        kept = [entry for entry in self.entries() if name_of(entry) not in names]
        write_json_atomically(self.models_path / REGISTRY_FILE, kept)  # first, so that no reader is sent to a gap
        for name in names:
            folder = self.version_folder(*name.split("/"))
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)
        return f"completed removing {', '.join(names)}"
