"""Shards on the disk of the machine that reads them: fetched once, verified, shared by its ranks, and bounded."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trainer.data.types import Report
from trainer.shards.manifest import SHARD_NAME, Manifest, Shard
from trainer.shards.store import ShardStore
from utils.errors import OperatorError
from utils.files import PART_SUFFIX, sha256_of_file
from utils.logs import get_logger

log = get_logger(__name__)

AT_A_TIME = 4  # shards that are fetched at the same time
FREE_BYTES = 1 << 30  # of the disk, which are left to others


@dataclass(frozen=True, slots=True)
class ShardCache:
    """At most `max_bytes` of shards in `folder`. Shards of other trainings are removed first, the oldest before."""

    folder: Path
    max_bytes: int

    def file(self, shard: Shard) -> Path:
        return self.folder / shard.name

    def fetch(self, store: ShardStore, manifest: Manifest, report: Report) -> frozenset[str]:
        """Fetch what there is room for. Returns the sha256 of shards that are missing or damaged in the store.

        Pictures of the other shards are read from the store one at a time. Raises OperatorError.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            wanted = self._with_room(manifest)
        except OSError as error:
            raise OperatorError(f"{self.folder}: cannot be used as cache of shards: {error}; see --cache") from error
        if len(wanted) < len(manifest.shards):
            log.warning(
                "shard_cache_too_small",
                cached=len(wanted),
                shards=len(manifest.shards),
                needed_gb=round(manifest.size_bytes / 1e9, 1),
                effect="the other pictures are fetched one at a time, which is slow; see --cache-gb",
            )
        bad: set[str] = set()
        done = 0
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="shard") as pool:
            for shard, is_good in zip(wanted, pool.map(lambda shard: self._fetched(store, shard), wanted), strict=True):
                done += 1
                if not is_good:
                    bad.add(shard.sha256)
                report(done, len(wanted), f"fetched {done} of {len(wanted)} shards")
        log.info("shards_ready", cached=done - len(bad), bad=len(bad), folder=str(self.folder), store=store.url)
        return frozenset(bad)

    def _with_room(self, manifest: Manifest) -> Sequence[Shard]:
        """The shards that fit, after what this training does not need has made room."""
        names = {shard.name for shard in manifest.shards}
        present = {entry.name: entry.stat() for entry in os.scandir(self.folder) if _is_ours(entry.name)}
        others = sorted((found.st_mtime, name) for name, found in present.items() if name not in names)
        held = sum(found.st_size for found in present.values())
        limit = min(self.max_bytes, held + shutil.disk_usage(self.folder).free - FREE_BYTES)
        absent = sum(shard.size_bytes for shard in manifest.shards if shard.name not in present)
        for _, name in others:
            if held + absent <= limit:
                break
            (self.folder / name).unlink(missing_ok=True)
            held -= present[name].st_size
        fitting = [shard for shard in manifest.shards if shard.name in present]
        for shard in manifest.shards:
            if shard.name not in present and held + shard.size_bytes <= limit:
                fitting.append(shard)
                held += shard.size_bytes
        return fitting

    def _fetched(self, store: ShardStore, shard: Shard) -> bool:
        """False when the store has no such shard, or a damaged one."""
        file = self.file(shard)
        part = self.folder / f"{shard.name}{PART_SUFFIX}"
        try:
            with part.open("ab") as lock:  # another rank, or another training, may be fetching it
                fcntl.flock(lock, fcntl.LOCK_EX)
                if file.is_file() and file.stat().st_size == shard.size_bytes:
                    os.utime(file)
                    return True
                store.fetch(shard.name, part)
                if part.stat().st_size != shard.size_bytes or sha256_of_file(part) != shard.sha256:
                    return False
                part.replace(file)
                return True
        except FileNotFoundError:
            return False
        except OSError as error:
            raise OperatorError(f"{file}: cannot be written: {error}; see --cache and --cache-gb") from error
        finally:
            part.unlink(missing_ok=True)


def _is_ours(name: str) -> bool:
    return SHARD_NAME.fullmatch(name.removesuffix(PART_SUFFIX)) is not None
