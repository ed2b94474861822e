"""Keeping a watcher at work on the data folder: started, proven alive, replaced, or done without."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from handlers.paths import COOKIE_NAME
from handlers.watch.dirty_paths import DirtyPaths
from handlers.watch.mounts import network_type
from handlers.watch.watcher import Watcher
from utils.logs import get_logger

log = get_logger(__name__)

COOKIE_SECONDS = 15.0  # between two proofs that events arrive
COOKIE_PATIENCE_SECONDS = 5.0  # how long a cookie may take on a loaded machine
MAX_UNPROVEN = 3  # watchers in a row that brought no event: there are none to be had here
RETRY_SECONDS = 300.0  # before inotify is tried again after it could not be had


PollingCode = Literal["by_choice", "network_file_system", "no_inotify", "no_events", "few_watches"]


class WatchLiveness:
    """`polling` says why events cannot be relied on, in words, or is empty. Called from one thread."""

    def __init__(self, root: Path, dirty_paths: DirtyPaths, mode: str, monotonic: Callable[[], float]) -> None:
        self._root = root
        self._dirty_paths = dirty_paths
        self._mode = mode
        self._monotonic = monotonic
        self._watcher: Watcher | None = None
        self._identity: tuple[int, int] | None = None
        self._baked: float | None = None  # when the cookie that is on its way was written
        self._next_cookie = 0.0
        self._next_try = 0.0
        self._eaten = False
        self._is_short = False
        self._unproven = 0
        self.polling = ""
        self.code: PollingCode | None = None  # the kind of `polling`
        self.restarts = 0
        self.proof = monotonic()

    def check(self) -> bool:
        """Keep the watcher in step with the world; True when events may have been lost and all must be read."""
        now = self._monotonic()
        identity = _identity(self._root)
        if self._watcher is not None and identity == self._identity:
            return self._probe(now)
        if identity is None or (self._watcher is None and now < self._next_try and identity == self._identity):
            self.proof = now
            return False
        replaced = self._watcher is not None
        self.stop()
        self._identity = identity
        self._start(now)
        return replaced or self._watcher is not None

    def expect_watches(self, folders: int) -> bool:
        """After a whole scan: the kernel must watch as many folders as there are. False: in doubt, scan again soon."""
        watches = self._watcher.watches() if self._watcher is not None else None
        if watches is None:
            return True
        was_short, self._is_short = self._is_short, watches < folders
        if self._is_short and not was_short:
            return False  # a tree may be arriving this moment
        if self._is_short:
            limit = _watch_limit()
            reason = f"only {watches} of {folders} folders can be watched (fs.inotify.max_user_watches is {limit})"
            self._poll("few_watches", reason)
        elif self.code == "few_watches":
            self._poll(None)
        return True

    def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def _start(self, now: float) -> None:
        self._baked, self._next_cookie, self.proof = None, now, now
        self._next_try = now + RETRY_SECONDS
        code, reason = self._obstacle()
        if code is None:
            watcher = Watcher(self._root, self._dirty_paths, self._cookie_seen)
            try:
                watcher.start()
            except OSError as error:
                code, reason = "no_inotify", f"inotify is not to be had: {_explain(error)}"
            else:
                self._watcher = watcher
        self._poll(code, reason)

    def _poll(self, code: PollingCode | None, reason: str = "") -> None:
        """Why scans take the place of events; None: they need not."""
        if reason and reason != self.polling:
            log.warning("watching_by_scans", code=code, reason=reason)
        self.code, self.polling = code, reason

    def _obstacle(self) -> tuple[PollingCode | None, str]:
        if self._mode == "polling":
            return "by_choice", "intake.watcher is polling"
        kind = network_type(self._root) if self._mode == "auto" else None
        if kind is None:
            return None, ""
        return "network_file_system", f"{self._root} is on {kind}, where inotify does not see others' changes"

    def _probe(self, now: float) -> bool:
        assert self._watcher is not None
        if self._eaten:
            self._eaten, self._baked, self._unproven, self.proof = False, None, 0, now
        if self._watcher.is_alive() and (self._baked is None or now - self._baked < COOKIE_PATIENCE_SECONDS):
            if self._baked is None and now >= self._next_cookie:
                self._bake(now)
            return False
        self.restarts += 1
        self._unproven += 1
        log.warning("watcher_restarted", restarts=self.restarts, threads_alive=self._watcher.is_alive())
        self.stop()
        if self._unproven < MAX_UNPROVEN:
            self._start(now)
        else:
            self._unproven, self._next_try = 0, now + RETRY_SECONDS
            self._poll("no_events", f"no events arrive from {self._root}")
        return True

    def _bake(self, now: float) -> None:
        """A file that only the watcher looks for: its event proves kernel, reader, dispatcher and handler at once."""
        self._next_cookie = now + COOKIE_SECONDS
        cookie = os.fsencode(self._root) + b"/" + COOKIE_NAME
        try:
            os.close(os.open(cookie, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        except OSError:
            self.proof = now  # a folder we may not write to: no proof either way; the scans go on
            return
        self._baked = now
        with contextlib.suppress(OSError):
            os.unlink(cookie)  # noqa: PTH108  bytes

    def _cookie_seen(self) -> None:
        self._eaten = True


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _explain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"the limit fs.inotify.max_user_watches ({_watch_limit()}) is reached"
    if error.errno == errno.EMFILE:
        return "the limit fs.inotify.max_user_instances is reached"
    return str(error)


def _watch_limit() -> str:
    try:
        return Path("/proc/sys/fs/inotify/max_user_watches").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
