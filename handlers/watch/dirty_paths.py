"""What may have changed, as told by the watcher: a bounded set of names, folders and trees to look at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from handlers.paths import is_under, split

MAX_NAMES = 1024  # more names in one folder become the folder: looking at a name costs some 30 us, at a folder more
MAX_DIRTY_PATHS = 1024  # more folders and trees become everything
MAX_EXPECTED = 10_000
EXPECTED_SECONDS = 5.0


class DirtyPaths:
    """Filled by the watcher's thread, emptied by the dataset's. Adding never blocks for long and never fails."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._names: dict[bytes, set[bytes] | None] = {}  # None: the whole folder, not what is below
        self._trees: set[bytes] = set()
        self._expected: dict[bytes, float] = {}  # written by ourselves, and until when its event may be late

    def __bool__(self) -> bool:
        return bool(self._names or self._trees)

    def expect(self, path: bytes) -> None:
        """The next event of this file, if it comes soon, tells what we know: we are writing it."""
        with self._lock:
            if len(self._expected) >= MAX_EXPECTED:
                self._expected.clear()
            self._expected[path] = time.monotonic() + EXPECTED_SECONDS

    def add_name(self, path: bytes) -> None:
        """A file, or a folder that is told apart when it is looked at."""
        folder, name = split(path)
        with self._lock:
            is_expected = self._expected.pop(path, 0.0) > time.monotonic()
            if is_expected or any(is_under(folder, tree) for tree in self._trees):
                return
            names = self._names.setdefault(folder, set())
            if names is not None:
                names.add(name)
                if len(names) > MAX_NAMES:
                    self._names[folder] = None
            self._bound()
        self._wake()

    def add_tree(self, folder: bytes) -> None:
        """A folder that appeared, went or moved with all that is in it; the empty one is everything."""
        with self._lock:
            if any(is_under(folder, tree) for tree in self._trees):
                return
            self._trees = {tree for tree in self._trees if not is_under(tree, folder)} | {folder}
            self._names = {place: names for place, names in self._names.items() if not is_under(place, folder)}
            self._bound()
        self._wake()

    def take(self) -> tuple[dict[bytes, set[bytes] | None], set[bytes]]:
        """All marks, and none is left: names by folder (None: all of that folder), and trees."""
        with self._lock:
            taken = self._names, self._trees
            self._names, self._trees = {}, set()
        return taken

    def drop_root(self) -> None:
        """Forget that everything is to be looked at: that begins now. Other marks stay, to be looked at within it."""
        with self._lock:
            self._trees.discard(b"")

    def _bound(self) -> None:
        if len(self._names) + len(self._trees) > MAX_DIRTY_PATHS:
            self._names, self._trees = {}, {b""}
