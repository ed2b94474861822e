"""SIGKILL at the steps of bringing shards up to date and fetching them: what the manifest names is always whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from crash_points import Action, kill_at_points
from pictures import small_set
from selection import ALL

from trainer.data.snapshot import Sample, read_snapshot, write_snapshot
from trainer.shards.cache import ShardCache
from trainer.shards.manifest import MANIFEST_FILE, Manifest
from trainer.shards.store import ShardStore
from trainer.shards.writer import write_shards
from utils.files import sha256_of_file

pytestmark = pytest.mark.timeout(600 if ALL else 120)


def silent(done: int, total: int, message: str) -> None:
    pass


def bring_up_to_date(base: Path, samples: list[Sample]) -> Manifest:
    store = ShardStore(str(base / "shards"))
    manifest = write_shards(store, samples, base / "data", base / "scratch", silent, shard_bytes=12_000)
    assert ShardCache(base / "cache", 1 << 30).fetch(store, manifest, silent) == frozenset()
    return manifest


def offer_shards(base: Path) -> None:
    samples = small_set(base / "data", 6, side=72)
    write_snapshot(base / "snapshot.jsonl", samples[2:])
    bring_up_to_date(base, samples[:9])


def act(base: Path) -> Manifest:
    return bring_up_to_date(base, list(read_snapshot(base / "snapshot.jsonl").samples))


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def check(base: Path) -> None:
    named = Manifest.parsed((base / "shards" / MANIFEST_FILE).read_bytes()).shards
    for shard in named:
        assert sha256_of_file(base / "shards" / shard.name) == shard.sha256
    for file in (base / "cache").glob("*.tar"):
        assert sha256_of_file(file) == file.stem
    manifest = act(base)
    wanted = {sample.sha256 for sample in read_snapshot(base / "snapshot.jsonl").samples}
    assert {sha256 for shard in manifest.shards for sha256 in shard.pictures} == wanted
    names = {shard.name for shard in manifest.shards}
    assert names_in(base / "shards") == {*names, MANIFEST_FILE}
    assert names_in(base / "cache") == names
    shutil.rmtree(base / "scratch", ignore_errors=True)


def test_a_kill_at_any_step_leaves_shards_that_can_be_used(tmp_path: Path) -> None:
    import fsspec.implementations.local  # noqa: F401 - imported here, not anew in each child

    assert kill_at_points(Action(offer_shards, act, check), tmp_path, None if ALL else 6) >= 6
