"""Brings the shards of a store up to date with the pictures of a training.

A shard stays as long as all its pictures are wanted, so that a training writes only what is new. A shard with a picture
that was deleted, or has another label now, is written again without it, and the old one is removed.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Collection, Iterator, Sequence, Set
from pathlib import Path

from trainer.data.snapshot import Sample
from trainer.data.types import Report
from trainer.shards.manifest import MANIFEST_FILE, SHARD_NAME, Manifest, Place, Shard
from trainer.shards.store import ShardStore
from utils.errors import StopRunError
from utils.files import PART_SUFFIX, sha256_of_file
from utils.images.decoding.kinds import KINDS
from utils.logs import get_logger
from utils.webdataset import add_sample

log = get_logger(__name__)

SHARD_BYTES = 256 << 20  # of pictures; few enough requests, and small enough to fetch several at a time
SMALL_SHARE = 0.5  # of SHARD_BYTES: a smaller shard is merged with the next new pictures


def write_shards(
    store: ShardStore,
    samples: Sequence[Sample],
    folder: Path,
    scratch: Path,
    report: Report,
    *,
    distrusted: Set[str] = frozenset(),
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Shards of exactly `samples`, whose paths are below `folder`. `distrusted` shards (sha256) are written again.

    Raises StopRunError when a picture changed, OperatorError when the store cannot be used.
    """
    wanted = {sample.sha256: sample for sample in samples}
    kept = _still_good(store, wanted, distrusted)
    missing = wanted.keys() - {sha256 for shard in kept for sha256 in shard.pictures}
    if missing:
        kept = [shard for shard in kept if shard.size_bytes >= SMALL_SHARE * shard_bytes]
        missing = wanted.keys() - {sha256 for shard in kept for sha256 in shard.pictures}
    shards, done = [*kept], len(wanted) - len(missing)
    scratch.mkdir(parents=True, exist_ok=True)
    part = scratch / "shard.tar"
    try:
        for group in _groups([wanted[sha256] for sha256 in sorted(missing)], shard_bytes):
            shard = _write(part, group, folder)
            store.put(part, shard.name)
            shards.append(shard)
            done += len(group)
            report(done, len(wanted), f"{done} of {len(wanted)} pictures are in shards")
    finally:
        part.unlink(missing_ok=True)
    manifest = Manifest(tuple(sorted(shards, key=lambda shard: shard.sha256)))
    store.write(MANIFEST_FILE, manifest.as_json())
    _remove_others(store, {shard.name for shard in shards})
    log.info("shards_written", new=len(shards) - len(kept), kept=len(kept), pictures=len(wanted), mb=_mb(manifest))
    return manifest


def _still_good(store: ShardStore, wanted: dict[str, Sample], distrusted: Set[str]) -> list[Shard]:
    """The shards of the store's manifest that are there, and whose pictures are all wanted with their labels."""
    try:
        before = Manifest.parsed(store.read(MANIFEST_FILE))
    except FileNotFoundError:
        return []
    except ValueError as error:
        log.warning("shard_manifest_ignored", store=store.url, reason=str(error))
        return []
    sizes = store.sizes()
    return [
        shard
        for shard in before.shards
        if shard.sha256 not in distrusted
        and sizes.get(shard.name) == shard.size_bytes
        and all(sha256 in wanted and wanted[sha256].label == place.label for sha256, place in shard.pictures.items())
    ]


def _groups(samples: Sequence[Sample], shard_bytes: int) -> Iterator[list[Sample]]:
    group: list[Sample] = []
    size = 0
    for sample in samples:
        group.append(sample)
        size += sample.size_bytes
        if size >= shard_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group


def _write(file: Path, samples: Sequence[Sample], folder: Path) -> Shard:
    pictures = {}
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            data = _read(folder, sample)
            kind = KINDS.get(sample.format)
            extension = kind.extension if kind else Path(sample.path).suffix.lower()
            offsets = add_sample(tar, sample.sha256, {extension: data, ".cls": str(sample.target).encode()})
            pictures[sample.sha256] = Place(offsets[extension], len(data), sample.label)
    return Shard(sha256_of_file(file), file.stat().st_size, pictures)


def _read(folder: Path, sample: Sample) -> bytes:
    try:
        data = (folder / sample.path).read_bytes()
    except OSError as error:
        raise StopRunError(f"{sample.path!r} cannot be read any more: {error}; train again") from error
    if hashlib.sha256(data).hexdigest() != sample.sha256:
        raise StopRunError(f"{sample.path!r} has changed since the training began; train again")
    return data


def _remove_others(store: ShardStore, names: Collection[str]) -> None:
    """What the new manifest does not name, and what a kill has left half-written; only what is ours by its name."""
    for name in store.sizes():
        is_left_over = name.startswith(".") and name.endswith(PART_SUFFIX)
        if is_left_over or (SHARD_NAME.fullmatch(name) and name not in names):
            store.remove(name)


def _mb(manifest: Manifest) -> int:
    return round(manifest.size_bytes / 1e6)
