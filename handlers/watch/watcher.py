"""watchdog, reduced to hints: every event becomes a mark, whatever goes wrong becomes "look at everything".

Traps that this module is shaped by (watchdog 7.1): a handler that raises kills its thread for good; a queue overflow
shows only in the log; running out of watches on a sub-folder shows nowhere; a dead reader thread still counts as alive.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from handlers.paths import COOKIE_NAME, is_ignored_file, is_ignored_folder, split
from handlers.watch.dirty_paths import DirtyPaths
from utils.logs import get_logger

log = get_logger(__name__)

# not "opened" and "closed without writing": our own reading raises those
EVENTS: list[type[FileSystemEvent]] = [
    *(FileCreatedEvent, FileClosedEvent, FileMovedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
]
WATCHDOG_LOG = "watchdog.observers"
EMITTER_LOG = "watchdog.observers.inotify"
DESCRIPTORS = Path("/proc/self/fd")
DESCRIPTOR_FACTS = Path("/proc/self/fdinfo")
JOIN_SECONDS = 1.0


class Watcher:
    """One observer on the data folder. `start` raises OSError when inotify cannot be had."""

    def __init__(self, root: Path, dirty_paths: DirtyPaths, cookie_seen: Callable[[], None]) -> None:
        self._root = root.resolve()  # watchdog would watch a link instead of what it leads to
        self._handler = _Handler(os.fsencode(self._root), dirty_paths, cookie_seen)
        self._overflow = _OverflowListener(dirty_paths)
        self._observer: InotifyObserver | None = None
        self._inotify: set[str] = set()

    def start(self) -> None:
        before = _inotify_descriptors()
        observer = InotifyObserver(timeout=0.5)
        self._inotify = _inotify_descriptors() - before
        observer.schedule(self._handler, str(self._root), recursive=True, event_filter=EVENTS)
        try:
            observer.start()
        except BaseException:
            with contextlib.suppress(Exception):
                observer.on_thread_stop()  # it has started its reader thread already
            raise
        self._observer = observer
        logging.getLogger(WATCHDOG_LOG).addHandler(self._overflow)
        logging.getLogger(EMITTER_LOG).addFilter(_is_news)

    def stop(self) -> None:
        logging.getLogger(WATCHDOG_LOG).removeHandler(self._overflow)
        observer, self._observer = self._observer, None
        if observer is None:
            return
        with contextlib.suppress(Exception):  # its threads may be dead in any way; we only want to be rid of it
            observer.stop()
            observer.join(JOIN_SECONDS)

    def is_alive(self) -> bool:
        """Necessary, not sufficient: only a cookie that comes back proves that events arrive."""
        observer = self._observer
        return observer is not None and observer.is_alive() and all(e.is_alive() for e in observer.emitters.copy())

    def watches(self) -> int | None:
        """How many folders the kernel watches for us; None when it cannot be told."""
        try:
            return sum((DESCRIPTOR_FACTS / number).read_text().count("inotify wd:") for number in self._inotify)
        except OSError:
            return None


class _Handler(FileSystemEventHandler):
    def __init__(self, root: bytes, dirty_paths: DirtyPaths, cookie_seen: Callable[[], None]) -> None:
        self._prefix = root.rstrip(b"/") + b"/"
        self._dirty_paths = dirty_paths
        self._cookie_seen = cookie_seen

    def dispatch(self, event: FileSystemEvent) -> None:
        try:
            for path in (event.src_path, event.dest_path):
                if path:
                    self._mark(os.fsencode(path), is_folder=event.is_directory)
        except Exception as error:
            # an exception here would end the observer's thread and leave it looking alive
            log.error("watch_event_failed", reason=repr(error))
            self._dirty_paths.add_tree(b"")

    def _mark(self, path: bytes, *, is_folder: bool) -> None:
        if not path.startswith(self._prefix):
            self._dirty_paths.add_tree(b"")  # the data folder itself
            return
        path = path.removeprefix(self._prefix)
        if path == COOKIE_NAME:
            self._cookie_seen()
            return
        folder, name = split(path)
        if folder and any(is_ignored_folder(part) for part in folder.split(b"/")):
            return
        if is_folder:
            if not is_ignored_folder(name):
                self._dirty_paths.add_tree(path)
        elif not is_ignored_file(folder, name):
            self._dirty_paths.add_name(path)


class _OverflowListener(logging.Handler):
    """watchdog tells of lost events in its log and nowhere else."""

    def __init__(self, dirty_paths: DirtyPaths) -> None:
        super().__init__(logging.WARNING)
        self._dirty_paths = dirty_paths

    def emit(self, record: logging.LogRecord) -> None:
        self._dirty_paths.add_tree(b"")


def _is_news(record: logging.LogRecord) -> bool:
    """Not what watchdog logs as an error whenever it is stopped."""
    return "when the thread is inactive" not in record.getMessage()


def _inotify_descriptors() -> set[str]:
    found = set()
    for entry in DESCRIPTORS.iterdir():
        with contextlib.suppress(OSError):
            if str(entry.readlink()) == "anon_inode:inotify":
                found.add(entry.name)
    return found
