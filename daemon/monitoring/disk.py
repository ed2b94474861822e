"""How much room is left: the floors below which collecting and training stop, before a full disk breaks both.

floor = DiskFloor([config.storage.local_path, config.storage.models_path], min_free_gb=2, min_free_inodes_percent=1)
if not floor.state().ok: ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """One file system. `inodes_total` is 0 where the file system has no fixed number (btrfs)."""

    path: Path  # the first of the watched folders on it
    device: int
    free_bytes: int
    total_bytes: int
    inodes_free: int
    inodes_total: int


@dataclass(frozen=True, slots=True)
class DiskState:
    """`reason` says which file system is short of what, and is empty while `ok`. `free_bytes` is the least of them."""

    ok: bool
    reason: str
    free_bytes: int
    disks: tuple[DiskUsage, ...] = ()


def disk_usage(path: Path) -> DiskUsage:
    """What the service may still use at `path`, or at its nearest folder that exists. Raises OSError."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    found = os.statvfs(existing)
    return DiskUsage(
        path=path,
        device=existing.stat().st_dev,
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        inodes_free=found.f_favail,
        inodes_total=found.f_files,
    )


class DiskFloor:
    """Judges the file systems of `paths`; costs some microseconds a call, so ask as often as needed."""

    def __init__(
        self,
        paths: Sequence[Path],
        min_free_gb: float,
        min_free_inodes_percent: float,
        usage: Callable[[Path], DiskUsage] = disk_usage,
    ) -> None:
        self._paths = list(paths)
        self._min_free_bytes = min_free_gb * GB
        self._min_inodes_percent = min_free_inodes_percent
        self._usage = usage

    def state(self) -> DiskState:
        disks: dict[int, DiskUsage] = {}
        problems: list[str] = []
        for path in self._paths:
            try:
                disk = self._usage(path)
            except OSError as error:
                problems.append(f"{path}: cannot be asked for its free space: {error.strerror}")
                continue
            disks.setdefault(disk.device, disk)
        problems += [problem for disk in disks.values() for problem in self._problems(disk)]
        least = min((disk.free_bytes for disk in disks.values()), default=0)
        return DiskState(not problems, "; ".join(problems), least, tuple(disks.values()))

    def _problems(self, disk: DiskUsage) -> list[str]:
        problems = []
        if disk.free_bytes < self._min_free_bytes:
            problems.append(
                f"{disk.path}: {disk.free_bytes / GB:.1f} GB free, floor is {self._min_free_bytes / GB:g} GB "
                "(storage.min_free_gb): delete files, or move the folder to a larger disk"
            )
        if disk.inodes_total and disk.inodes_free < disk.inodes_total * self._min_inodes_percent / 100:
            problems.append(
                f"{disk.path}: {100 * disk.inodes_free / disk.inodes_total:.2f} % of the inodes free, floor is "
                f"{self._min_inodes_percent:g} % (storage.min_free_inodes_percent): too many files on this disk"
            )
        return problems
