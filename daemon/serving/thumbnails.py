"""Small pictures for the console: drawn by confined processes, kept by content, bounded on disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from utils.files import write_atomically
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckFailure, Thumbnail
from utils.images.thumbnail_files import SIDES, thumbnail_file
from utils.logs import get_logger

log = get_logger(__name__)

KEPT_AFTER_TRIM = 0.8  # of the limit
MAX_WAITING = 400  # pictures that are drawn or wait to be; more are refused until some are done


class Thumbnails:
    """`find` gives the file of a picture by its sha256, or None. Made when asked for, kept for the next time."""

    def __init__(self, folder: Path, limit_bytes: int, pool: CheckPool, find: Callable[[str], Path | None]) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._pool = pool
        self._find = find
        self._lock = threading.Lock()
        self._size: int | None = None  # bytes in the folder, once it was looked through
        self._waiting: dict[Path, asyncio.Task[bytes | None]] = {}  # of the API's event loop only

    async def get(self, sha256: str, size: str) -> bytes | None:
        """WebP; None when there is no such picture any more, or it cannot be drawn. Called on the event loop."""
        kept = thumbnail_file(self._folder, size, sha256)
        file, found = await asyncio.to_thread(lambda: (self._find(sha256), _read(kept)))
        if file is None or found is not None:
            return None if file is None else found
        task = self._waiting.get(kept)
        if task is None:
            if len(self._waiting) >= MAX_WAITING:
                return None
            task = asyncio.create_task(self._draw(file, sha256, SIDES[size], kept))
            self._waiting[kept] = task
            task.add_done_callback(lambda _: self._waiting.pop(kept, None))
        return await asyncio.shield(task)

    def close(self) -> None:
        self._pool.close()

    async def _draw(self, file: Path, sha256: str, side: int, kept: Path) -> bytes | None:
        drawn = await asyncio.wrap_future(self._pool.draw(file, Thumbnail(sha256, side)))
        if isinstance(drawn, CheckFailure):
            log.info("thumbnail_not_drawn", path=str(file), reason=drawn.reason)
            return None
        await asyncio.to_thread(self._keep, kept, drawn)
        return drawn

    def _keep(self, file: Path, data: bytes) -> None:
        """A full disk is no reason not to show the picture."""
        with contextlib.suppress(OSError), self._lock:
            write_atomically(file, data, durable=False)
            self._size = len(data) + (self._measure() if self._size is None else self._size)
            if self._size > self._limit:
                self._trim()

    def _measure(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _trim(self) -> None:
        """Delete what was not looked at for the longest time."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, file in files:
            if total <= self._limit * KEPT_AFTER_TRIM:
                break
            file.unlink(missing_ok=True)
            total -= size
        self._size = total

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for file in self._folder.glob("*/*/*"):
            with contextlib.suppress(OSError):
                facts = file.stat()
                found.append((facts.st_mtime, facts.st_size, file))
        return found


def _read(file: Path) -> bytes | None:
    """The kept picture, marked as looked at."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(file)
    return data
