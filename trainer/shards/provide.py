"""Gives every rank its training pictures: the data folder where there is one, shards everywhere else."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.images import ImageFolder, Images
from trainer.data.snapshot import Sample
from trainer.data.types import Report
from trainer.distributed.ranks import Ranks
from trainer.interrupts import AllRanksStop
from trainer.shards.cache import ShardCache
from trainer.shards.images import ShardedImages
from trainer.shards.manifest import Manifest
from trainer.shards.store import ShardStore
from trainer.shards.writer import write_shards
from utils.errors import ExposrError

CACHE_GB = 100.0  # of shards on a machine that helps


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exposr-trainer" / "shards"


@dataclass(frozen=True, slots=True)
class LocalShards:
    """How this machine reads shards: where they lie for it (`url` None: where the settings say), and its cache."""

    url: str | None = None
    cache: Path | None = None
    cache_gb: float | None = None

    def store(self, url: str) -> ShardStore:
        return ShardStore(self.url or url)

    def bounded_cache(self) -> ShardCache:
        return ShardCache(
            self.cache or default_cache(), int((CACHE_GB if self.cache_gb is None else self.cache_gb) * 1e9)
        )


@dataclass(frozen=True, slots=True)
class _Told:
    """What a rank, or the main one, has to say to all."""

    manifest: Manifest | None = None
    problem: str | None = None
    bad: frozenset[str] = frozenset()


def training_images(
    ranks: Ranks,
    own: ImageFolder | None,
    local: LocalShards,
    url: str | None,
    train: Sequence[Sample],
    scratch: Path,
    report: Report,
) -> Images:
    """Every rank calls this. The main one brings the shards at `url` up to date (None: there are none).

    `own`: this machine's copy of the pictures, which it then reads instead of shards.
    What a machine finds missing or damaged is written once more. Raises AllRanksStop, with advice, on every rank.
    """
    bad: frozenset[str] = frozenset()
    while True:
        mine = _written(own, url, train, scratch, report, bad) if ranks.is_main else None
        manifest = _agreed([ranks.share(mine)])[0].manifest
        found = _agreed(ranks.gather(_Told() if own else _fetched(local, url, manifest, report)))
        again = frozenset[str]().union(*(told.bad for told in found))
        if not again:
            break
        if bad:
            raise AllRanksStop(
                f"training.shards = {url}: {', '.join(sorted(again))} were written twice and arrive missing or damaged;"
                " does another trainer use this place, or does a machine reach another one?"
            )
        bad = again
    if own is not None:
        return own
    assert manifest is not None and url is not None  # else this rank has told so
    return ShardedImages(manifest, local.store(url), local.bounded_cache())


def _written(
    own: ImageFolder | None,
    url: str | None,
    train: Sequence[Sample],
    scratch: Path,
    report: Report,
    bad: frozenset[str],
) -> _Told:
    if url is None or own is None:
        return _Told()
    try:
        return _Told(write_shards(ShardStore(url), train, own.folder, scratch, report, distrusted=bad))
    except (ExposrError, OSError) as error:
        return _Told(problem=f"the shards cannot be written: {error}")


def _fetched(local: LocalShards, url: str | None, manifest: Manifest | None, report: Report) -> _Told:
    """One rank fetches for its machine."""
    host = socket.gethostname()
    if manifest is None or url is None:
        return _Told(problem=f"{host} has no pictures: name a copy with --data there, or set training.shards")
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return _Told()
    try:
        return _Told(bad=local.bounded_cache().fetch(local.store(url), manifest, report))
    except ExposrError as error:
        return _Told(problem=f"{host}: {error}")


def _agreed(told: Sequence[_Told]) -> Sequence[_Told]:
    problems = [each.problem for each in told if each.problem]
    if problems:
        raise AllRanksStop("; ".join(problems))
    return told
