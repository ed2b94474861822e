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
    """At most `max_bytes` of the shards of one manifest in `folder`; shards that it does not name are removed."""

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
        """The shards that fit. What the manifest does not name goes: it may hold pictures that were to be forgotten."""
        names = {shard.name for shard in manifest.shards}
        present = {}
        for entry in os.scandir(self.folder):
            if entry.name in names:
                present[entry.name] = entry.stat().st_size
            elif (whole := entry.name.removesuffix(PART_SUFFIX)) not in names and SHARD_NAME.fullmatch(whole):
                Path(entry).unlink(missing_ok=True)
        limit = min(self.max_bytes, sum(present.values()) + shutil.disk_usage(self.folder).free - FREE_BYTES)
        fitting, held = [], 0
        for shard in sorted(manifest.shards, key=lambda shard: shard.name not in present):
            if held + shard.size_bytes <= limit:
                fitting.append(shard)
                held += shard.size_bytes
            else:
                self.file(shard).unlink(missing_ok=True)
        return fitting

    def _fetched(self, store: ShardStore, shard: Shard) -> bool:
        """False when the store has no such shard, or a damaged one."""
        file = self.file(shard)
        part = self.folder / f"{shard.name}{PART_SUFFIX}"
        try:
            with part.open("ab") as lock:  # another rank, or another training, may be fetching it
                fcntl.flock(lock, fcntl.LOCK_EX)
                if file.is_file() and file.stat().st_size == shard.size_bytes:
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
