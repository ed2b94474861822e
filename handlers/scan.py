"""Comparing folders with the index: what appeared, changed, vanished or came back. Reads directories, opens no file."""

from __future__ import annotations

import bisect
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from handlers.file_signature import SIGNED_64, FileSignature, Found
from handlers.index.store import Index, Known
from handlers.paths import (
    META,
    clips_of_stills,
    is_clip,
    is_ignored_file,
    is_ignored_folder,
    is_left_over,
    is_under,
    join,
)

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
SPECIAL_KINDS = (
    (stat.S_ISFIFO, "is a named pipe, not a file"),
    (stat.S_ISSOCK, "is a socket, not a file"),
    (stat.S_ISCHR, "is a device, not a file"),
    (stat.S_ISBLK, "is a device, not a file"),
)


@dataclass(slots=True)
class Changes:
    """The difference between the index and the folders that were looked at."""

    appeared: list[Found] = field(default_factory=list)  # pictures to be, new or changed
    metadata: list[Found] = field(default_factory=list)  # metadata files, new or changed
    special: list[tuple[Found, str]] = field(default_factory=list)  # links, pipes …, with what they are
    returned: list[Found] = field(default_factory=list)  # missed before, here again, unchanged
    companions: list[bytes] = field(default_factory=list)  # reported before the picture came that they belong to
    vanished: list[tuple[bytes, bool]] = field(default_factory=list)  # path, and whether its file system is still there
    left_over: list[bytes] = field(default_factory=list)  # what a killed writer of metadata left half-written
    moved_device: list[tuple[bytes, int]] = field(default_factory=list)  # folder whose device got another number
    unreadable: dict[bytes, str] = field(default_factory=dict)  # folder -> why; what is known of it stays as it is
    folders: int = 0
    files: int = 0

    def __bool__(self) -> bool:
        return any(
            (
                self.appeared,
                self.metadata,
                self.special,
                self.returned,
                self.companions,
                self.vanished,
                self.moved_device,
            )
        )


class Scan:
    """One comparison. `retry` looks again at files that could not be read before, and at metadata likewise."""

    def __init__(
        self, root: Path, index: Index, pulse: Callable[[], None] = lambda: None, *, retry: bool = False
    ) -> None:
        self._root = os.fsencode(root)
        self._index = index
        self._pulse = pulse
        self._retry = retry
        self._devices: dict[bytes, int] = {}
        self._looked: set[bytes] = set()
        self._trees: list[bytes] = []
        self._seen: set[tuple[int, int]] = set()  # a bind mount can put a folder inside itself
        self._renumbered: dict[int, int] = {}
        self._clips: dict[bytes, set[bytes]] = {}
        self._missing: list[tuple[bytes, bytes, int]] = []  # folder, name, device it was on
        self.changes = Changes()

    def whole(self) -> Changes:
        """Everything."""
        # metadata first: a picture that is new to the index finds what is known about it
        self._walk(META)
        self._walk(b"", but=META)
        self._trees = [b""]
        return self.finish()

    def tree(self, folder: bytes) -> None:
        """A folder and all below it; it need not exist any more."""
        self._walk(folder)
        self._trees.append(folder)

    def flat(self, folder: bytes) -> None:
        """The files of one folder, not those below it."""
        self._look(folder)
        if folder not in self._looked:
            self._trees.append(folder)

    def names(self, folder: bytes, names: Iterable[bytes]) -> None:
        """A few names of one folder."""
        for name in names:
            path = join(folder, name)
            row = self._index.file(path)
            try:
                status = self._path(path).lstat()
            except OSError:
                self._trees.append(path)  # it may have been a folder
                if row is not None and row.gone is None:
                    self._missing.append((folder, name, row.device))
                continue
            if stat.S_ISDIR(status.st_mode):
                self.tree(path)
                if row is not None and row.gone is None:
                    self._missing.append((folder, name, row.device))
            elif is_clip(name) and name in self._companions(folder):
                if row is not None:
                    self.changes.companions.append(path)
            elif row is not None or not is_ignored_file(folder, name):
                before = None if row is None else (name, *row.signature, row.device, row.state, row.gone)
                self._compare(
                    Found(folder, name, FileSignature.of(status), self._present_device(folder)), status.st_mode, before
                )

    def finish(self) -> Changes:
        """What was missed is known when all that was asked for has been looked at."""
        for tree in self._trees:
            for folder in self._index.folders(tree):
                if folder in self._looked or any(is_under(folder, closed) for closed in self.changes.unreadable):
                    continue
                self._looked.add(folder)
                for known, _ in self._index.known(folder):
                    self._miss(folder, known)
        for folder, name, device in self._missing:
            there = device == self._present_device(folder) or device in self._renumbered
            self.changes.vanished.append((join(folder, name), there))
        return self.changes

    def _walk(self, start: bytes, but: bytes | None = None) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            waiting += [child for child in self._look(folder) if child != but]

    def _look(self, folder: bytes) -> list[bytes]:
        """Compare one folder; its sub-folders that are worth a look."""
        try:
            status = self._path(folder).lstat() if folder else self._path(folder).stat()  # the root may be a link
            if not stat.S_ISDIR(status.st_mode):
                return []  # `finish` sees that it was not looked at
            if (status.st_dev, status.st_ino) in self._seen:
                return []
            self._seen.add((status.st_dev, status.st_ino))
            return self._compare_folder(folder, status.st_dev & SIGNED_64)
        except (FileNotFoundError, NotADirectoryError):
            self._looked.discard(folder)
        except OSError as error:
            self.changes.unreadable[folder] = f"cannot be read: {os.strerror(error.errno or errno.EIO)}"
        return []

    def _compare_folder(self, folder: bytes, device: int) -> list[bytes]:
        """Page by page of what the index knows: a million files in one folder are only held as names."""
        children: list[bytes] = []
        self._devices[folder] = device
        self._looked.add(folder)
        self.changes.folders += 1
        path = join(self._root, folder) if folder else self._root
        place = os.open(path, FOLDER_FLAGS)
        try:
            for names, known in self._pages(folder, os.listdir(path)):  # noqa: PTH208  bytes
                self._pulse()
                self.changes.files += len(known)
                self._compare_page(folder, place, names, known, children)
                self._miss(folder, known)
        finally:
            os.close(place)
        return children

    def _pages(self, folder: bytes, names: list[bytes]) -> Iterator[tuple[list[bytes], dict[bytes, Known]]]:
        """All names that are there, in ranges, each with the known files of the same range."""
        start = 0
        for known, is_last in self._index.known(folder):
            if is_last:
                yield names[start:], known
                return
            if not start:
                names.sort()
            end = bisect.bisect_right(names, next(reversed(known)), start)
            yield names[start:end], known
            start = end

    def _miss(self, folder: bytes, known: dict[bytes, Known]) -> None:
        self._missing += [(folder, name, row[5]) for name, row in known.items() if row[7] is None]

    def _compare_page(
        self, folder: bytes, place: int, names: list[bytes], known: dict[bytes, Known], children: list[bytes]
    ) -> None:
        """Takes what is there out of `known`; sub-folders go to `children`. `place` is the folder's descriptor."""
        device = self._devices[folder]
        for name in names:
            before = known.pop(name, None)
            if before is None and is_ignored_folder(name) and is_ignored_file(folder, name):
                if is_left_over(folder, name):
                    self.changes.left_over.append(join(folder, name))
                continue
            try:
                status = os.stat(name, dir_fd=place, follow_symlinks=False)
            except FileNotFoundError:
                continue  # went meanwhile; its event is on the way
            # the usual case first and by hand: nothing changed, a million times
            if (
                before is not None
                and before[2] == status.st_mtime_ns
                and before[1] == status.st_size
                and before[3] == status.st_ctime_ns
                and before[4] == status.st_ino
                and before[5] == device
                and before[6] != "unreadable"
                and before[7] is None
                and not is_clip(name)
            ):
                continue
            if stat.S_ISDIR(status.st_mode):
                if not is_ignored_folder(name):
                    children.append(join(folder, name))
                if before is not None:
                    known[name] = before  # the file that it was is missing
            elif is_clip(name) and name in self._companions(folder):
                if before is not None:
                    self.changes.companions.append(join(folder, name))
            elif before is not None or not is_ignored_file(folder, name):
                self._compare(Found(folder, name, FileSignature.of(status), device), status.st_mode, before)

    def _companions(self, folder: bytes) -> set[bytes]:
        """Clips that belong to still pictures; looked up once for a folder that has clips."""
        if folder not in self._clips:
            names = os.listdir(join(self._root, folder) if folder else self._root)  # noqa: PTH208  bytes
            self._clips = {folder: clips_of_stills(names)}
        return self._clips[folder]

    def _compare(self, found: Found, mode: int, before: Known | None) -> None:
        if before is None or before[1:5] != found.signature:
            self._appeared(found, mode)
            return
        *_, device, state, gone = before
        if gone is not None:
            self.changes.returned.append(found)
        elif state == "unreadable" and self._retry:
            self._appeared(found, mode)
        if device != found.device:
            self._renumbered[device] = found.device
            if (found.folder, found.device) not in self.changes.moved_device:
                self.changes.moved_device.append((found.folder, found.device))

    def _appeared(self, found: Found, mode: int) -> None:
        if not stat.S_ISREG(mode):
            self.changes.special.append((found, self._name_special(found, mode)))
        elif is_under(found.folder, META):
            self.changes.metadata.append(found)
        else:
            self.changes.appeared.append(found)

    def _name_special(self, found: Found, mode: int) -> str:
        if not stat.S_ISLNK(mode):
            return next((text for is_kind, text in SPECIAL_KINDS if is_kind(mode)), "is no regular file")
        try:
            self._path(found.path).stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return "is a symbolic link that leads back to itself"
            return f"is a symbolic link that leads nowhere ({os.strerror(error.errno or errno.ENOENT)})"
        return "is a symbolic link; links are not followed, put the file itself here or mount its folder"

    def _present_device(self, folder: bytes) -> int:
        """The device of the folder, or of the nearest one above it that is still there; -1 when none is."""
        while folder not in self._devices:
            try:
                self._devices[folder] = self._path(folder).stat().st_dev & SIGNED_64
            except OSError:
                if not folder:
                    return -1
                folder = folder.rpartition(b"/")[0]
        return self._devices[folder]

    def _path(self, path: bytes) -> Path:
        return Path(os.fsdecode(join(self._root, path) if path else self._root))
