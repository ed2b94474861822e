"""Whether there is room: free disk space and inodes, and the largest size of the data set."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from utils.clock import Clock
from utils.config.sections import Storage
from utils.errors import StopRunError

LOOK_SECONDS = 5.0  # free space is read this often
BYTES_PER_GB = 1_000_000_000


class Capacity:
    """Asked before every batch, and claimed for every file; raises StopRunError that names the setting."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._looked: float | None = None
        self._size_bytes: int | None = None

    def take(self, size_bytes: int) -> None:
        """Claim room for one more file; raises StopRunError where it would not fit. After `check`."""
        if self._size_bytes is None:
            return
        if self._size_bytes + size_bytes > self._storage.max_dataset_gb * BYTES_PER_GB:
            raise self._full()
        self._size_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """What was claimed is not needed: the file was not stored."""
        if self._size_bytes is not None:
            self._size_bytes -= size_bytes

    async def check(self) -> None:
        limit = self._storage.max_dataset_gb * BYTES_PER_GB
        if limit:
            if self._size_bytes is None:
                self._size_bytes = await asyncio.to_thread(_size_of, self._storage.local_path)
            if self._size_bytes >= limit:
                raise self._full()
        now = self._clock.monotonic()
        if self._looked is None or now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._check_disk()

    def _full(self) -> StopRunError:
        return StopRunError(f"the data has reached storage.max_dataset_gb = {self._storage.max_dataset_gb:g}")

    def _check_disk(self) -> None:
        disk = os.statvfs(self._storage.local_path)
        free_gb = disk.f_bavail * disk.f_frsize / BYTES_PER_GB
        if free_gb < self._storage.min_free_gb:
            self._looked = None
            raise StopRunError(
                f"the disk has {free_gb:.2f} GB free, less than storage.min_free_gb ="
                f" {self._storage.min_free_gb:g}: free some space"
            )
        if disk.f_files and 100 * disk.f_favail / disk.f_files < self._storage.min_free_inodes_percent:
            self._looked = None
            raise StopRunError("the disk is short of inodes (storage.min_free_inodes_percent): remove files")


def _size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
