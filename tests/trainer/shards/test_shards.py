from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import webdataset
from pictures import encoded, scene, stored

from trainer.data.images import ImageFolder
from trainer.data.snapshot import Sample
from trainer.distributed.ranks import Ranks
from trainer.interrupts import AllRanksStop
from trainer.shards.cache import ShardCache
from trainer.shards.images import ShardedImages
from trainer.shards.manifest import MANIFEST_FILE, Manifest
from trainer.shards.provide import LocalShards, training_images
from trainer.shards.store import ShardStore
from trainer.shards.writer import write_shards
from utils.config_loader import load_config
from utils.errors import ConfigError, OperatorError, StopRunError

SHARD_BYTES = 20_000  # five or so of these pictures


@dataclass(frozen=True, slots=True)
class Place:
    """A data folder, and a store beside it."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def store(self) -> ShardStore:
        return ShardStore(str(self.shards))

    def write(self, samples: Sequence[Sample], **options: Any) -> Manifest:
        options = {"shard_bytes": SHARD_BYTES, **options}
        return write_shards(self.store, samples, self.data, self.root / "scratch", silent, **options)

    def files(self) -> dict[str, int]:
        """Each shard in the store, and when it was written."""
        return {file.name: file.stat().st_mtime_ns for file in self.shards.glob("*.tar")}


def silent(done: int, total: int, message: str) -> None:
    assert 0 <= done <= total


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def pictures(data: Path, first: int, count: int) -> list[Sample]:
    kinds = (("jpg", "JPEG", {"quality": 92}), ("png", "PNG", {}), ("webp", "WEBP", {"quality": 70}))
    samples = []
    for number in range(first, first + count):
        extension, form, options = kinds[number % 3]
        content = encoded(scene(number, 60, 48), form, **options)
        label: Any = ("real", "ai_generated")[number % 2]
        samples.append(stored(data, f"{label}/{number}.{extension}", content, label))
    return samples


def test_shards_hold_exactly_the_pictures_and_are_named_by_their_content(place: Place) -> None:
    samples = pictures(place.data, 0, 12)
    manifest = place.write(samples)
    assert len(manifest.shards) > 1
    found = {sha256: at.label for shard in manifest.shards for sha256, at in shard.pictures.items()}
    assert found == {sample.sha256: sample.label for sample in samples}
    assert {*place.files()} == {shard.name for shard in manifest.shards}
    assert Manifest.parsed((place.shards / MANIFEST_FILE).read_bytes()) == manifest
    assert not list(place.root.glob("scratch/*"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its files open
def test_shards_are_webdataset(place: Place) -> None:
    samples = {sample.sha256: sample for sample in pictures(place.data, 0, 6)}
    place.write(list(samples.values()))
    files = [str(file) for file in place.shards.glob("*.tar")]
    read = {row["__key__"]: row for row in webdataset.WebDataset(files, shardshuffle=False)}
    assert read.keys() == samples.keys()
    for sha256, sample in samples.items():
        assert read[sha256]["cls"] == str(sample.target).encode()
        assert read[sha256][Path(sample.path).suffix[1:]] == (place.data / sample.path).read_bytes()


def test_what_is_unchanged_is_not_written_again(place: Place) -> None:
    samples = pictures(place.data, 0, 12)
    place.write(samples)
    before = place.files()
    place.write(samples)
    assert place.files() == before
    place.write(samples + pictures(place.data, 12, 2))
    after = place.files()
    assert len(before.items() & after.items()) >= len(before) - 1  # but for a small one, which the new pictures joined
    assert len(after) <= len(before) + 1


def test_a_deleted_or_relabelled_picture_leaves_no_trace(place: Place) -> None:
    samples = pictures(place.data, 0, 12)
    place.write(samples)
    gone, other = samples[0], replace(samples[1], label="real")
    place.write([other, *samples[2:]])
    found = {sha256: at.label for shard in Manifest.parsed(place.store.read(MANIFEST_FILE)).shards
             for sha256, at in shard.pictures.items()}  # fmt: skip
    assert found == {sample.sha256: sample.label for sample in [other, *samples[2:]]}
    assert all(gone.sha256.encode() not in file.read_bytes() for file in place.shards.iterdir())


def test_files_of_others_stay(place: Place) -> None:
    place.shards.mkdir()
    for name in ("notes.txt", "train-000000.tar"):
        (place.shards / name).write_text("not ours")
    place.write(pictures(place.data, 0, 3))
    assert (place.shards / "notes.txt").exists()
    assert (place.shards / "train-000000.tar").exists()


def test_a_damaged_manifest_is_replaced(place: Place) -> None:
    samples = pictures(place.data, 0, 3)
    manifest = place.write(samples)
    for damage in (b"", b"[]", b'{"format": "exposr-shards-1", "shards": [{}]}', b'{"format": "other"}'):
        (place.shards / MANIFEST_FILE).write_bytes(damage)
        assert place.write(samples) == manifest


def test_a_picture_that_changed_stops_the_training(place: Place) -> None:
    samples = pictures(place.data, 0, 3)
    (place.data / samples[1].path).write_bytes(b"another picture")
    with pytest.raises(StopRunError, match="has changed"):
        place.write(samples)
    (place.data / samples[1].path).unlink()
    with pytest.raises(StopRunError, match="cannot be read"):
        place.write(samples)
    assert not (place.shards / MANIFEST_FILE).exists()


@pytest.mark.parametrize(
    "max_bytes", [1 << 30, SHARD_BYTES + 5000, 0], ids=["all cached", "some cached", "none cached"]
)
def test_pictures_from_shards_are_those_of_the_files(place: Place, max_bytes: int) -> None:
    samples = pictures(place.data, 0, 12)
    manifest = place.write(samples)
    cache = ShardCache(place.root / "cache", max_bytes)
    assert cache.fetch(place.store, manifest, silent) == frozenset()
    held = sum(file.stat().st_size for file in cache.folder.iterdir())
    assert held <= max_bytes
    assert (held > 0) == (max_bytes > 0)
    sharded, files = ShardedImages(manifest, place.store, cache), ImageFolder(place.data)
    for sample in samples:
        assert sharded.storage(sample) == files.storage(sample)
        assert np.array_equal(np.asarray(sharded.open(sample)), np.asarray(files.open(sample)))


def test_the_cache_holds_only_what_this_training_needs_and_its_limit_allows(place: Place) -> None:
    samples = pictures(place.data, 0, 18)
    cache = ShardCache(place.root / "cache", 1 << 30)
    cache.fetch(place.store, place.write(samples[:6]), silent)
    (cache.folder / "notes.txt").write_text("not ours")
    manifest = place.write(samples[6:])
    assert len(manifest.shards) > 1
    for limit in (1 << 30, manifest.size_bytes - 1, 0):
        assert ShardCache(cache.folder, limit).fetch(place.store, manifest, silent) == frozenset()
        held = {file.name: file.stat().st_size for file in cache.folder.glob("*.tar")}
        assert held.keys() <= {shard.name for shard in manifest.shards}
        assert sum(held.values()) <= limit
        assert (len(held) == len(manifest.shards)) == (limit == 1 << 30)
    assert (cache.folder / "notes.txt").exists()


def test_damaged_bytes_are_never_learnt_from(place: Place) -> None:
    samples = pictures(place.data, 0, 3)
    manifest = place.write(samples)
    (shard,) = manifest.shards
    cache = ShardCache(place.root / "cache", 1 << 30)
    cache.fetch(place.store, manifest, silent)
    sharded = ShardedImages(manifest, place.store, cache)
    damage(cache.file(shard))
    assert sharded.data(samples[0]) == (place.data / samples[0].path).read_bytes()  # from the store
    assert not cache.file(shard).exists()
    damage(place.shards / shard.name)
    with pytest.raises(StopRunError, match="missing or damaged"):
        sharded.data(samples[0])
    assert cache.fetch(place.store, manifest, silent) == {shard.sha256}
    (place.shards / shard.name).unlink()
    assert cache.fetch(place.store, manifest, silent) == {shard.sha256}
    assert not list(cache.folder.iterdir())
    with pytest.raises(StopRunError, match="missing or damaged"):
        sharded.data(samples[0])


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[600:-600] = bytes(len(data) - 1200)
    file.write_bytes(data)


@dataclass(frozen=True, slots=True)
class ThreadRanks:
    """Ranks that are threads of this process."""

    number: int
    barrier: threading.Barrier
    said: list[Any]
    main: ClassVar[int] = 0

    @property
    def is_main(self) -> bool:
        return self.number == self.main

    def gather(self, value: Any) -> list[Any]:
        self.said[self.number] = value
        self.barrier.wait(20)
        all_said = list(self.said)
        self.barrier.wait(20)
        return all_said

    def share(self, value: Any) -> Any:
        return self.gather(value)[self.main]


def on_two_machines(place: Place, samples: Sequence[Sample], url: str | None, there: LocalShards) -> list[Any]:
    """What `training_images` gives, or raises, where the job is and elsewhere."""
    barrier, said = threading.Barrier(2), [None, None]
    results: list[Any] = [None, None]

    def rank(number: int) -> None:
        ranks = cast("Ranks", ThreadRanks(number, barrier, said))
        own = None if number else ImageFolder(place.data)
        try:
            results[number] = training_images(ranks, own, there, url, samples, place.root / "scratch", silent)
        except AllRanksStop as error:
            results[number] = error

    threads = [threading.Thread(target=rank, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_a_shard_that_arrives_damaged_is_written_again(place: Place) -> None:
    samples = pictures(place.data, 0, 3)
    (shard,) = place.write(samples, shard_bytes=1 << 20).shards
    damage(place.shards / shard.name)
    here, there = on_two_machines(place, samples, str(place.shards), LocalShards(cache=place.root / "cache"))
    assert isinstance(here, ImageFolder)
    assert there.data(samples[0]) == (place.data / samples[0].path).read_bytes()


def test_a_machine_that_reaches_another_place_stops_all_with_advice(place: Place) -> None:
    samples = pictures(place.data, 0, 3)
    (place.root / "other").mkdir()
    elsewhere = LocalShards(url=str(place.root / "other"), cache=place.root / "cache")
    errors = on_two_machines(place, samples, str(place.shards), elsewhere)
    assert all(isinstance(error, AllRanksStop) and "another" in str(error) for error in errors)


def test_a_machine_without_pictures_and_shards_stops_all_with_advice(place: Place) -> None:
    errors = on_two_machines(place, pictures(place.data, 0, 3), None, LocalShards(cache=place.root / "cache"))
    assert all("--data" in str(error) and "training.shards" in str(error) for error in errors)


def test_an_unusable_store_or_cache_stops_all_with_advice(place: Place) -> None:
    samples = pictures(place.data, 0, 3)
    absent = str(place.root / "unmounted/shards")
    for error in on_two_machines(place, samples, absent, LocalShards(cache=place.root / "cache")):
        assert "mount its disk" in str(error)
    (place.root / "file").write_text("")
    for error in on_two_machines(place, samples, str(place.shards), LocalShards(cache=place.root / "file")):
        assert "--cache" in str(error)


@pytest.mark.parametrize(
    ("url", "advice"),
    [("nosuch://bucket/x", "pip install"), ("http://127.0.0.1:9/x", "pip install|does not work")],
)
def test_a_place_that_cannot_be_opened_is_named_with_advice(url: str, advice: str) -> None:
    with pytest.raises(OperatorError, match=advice):
        ShardStore(url).read(MANIFEST_FILE)


class Refusing:
    """A file system that lets nobody in."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def cat_file(self, path: str) -> bytes:
        raise self.error


@pytest.mark.parametrize("name", ["NoCredentialsError", "PermissionError", "Forbidden"])
def test_a_refusal_says_where_credentials_come_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    error = PermissionError("no") if name == "PermissionError" else type(name, (Exception,), {})("no")
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url, **_: (Refusing(error), "bucket/x"))
    with pytest.raises(OperatorError, match="AWS_ACCESS_KEY_ID"):
        ShardStore("s3://bucket/x").read(MANIFEST_FILE)


def test_another_file_system_of_fsspec_does_as_well(place: Place) -> None:
    samples = pictures(place.data, 0, 12)
    store = ShardStore("memory://bucket/shards")
    manifest = write_shards(store, samples, place.data, place.root / "scratch", silent, shard_bytes=SHARD_BYTES)
    assert store.sizes().keys() == {MANIFEST_FILE, *(shard.name for shard in manifest.shards)}
    cache = ShardCache(place.root / "cache", SHARD_BYTES + 5000)
    assert cache.fetch(store, manifest, silent) == frozenset()
    sharded = ShardedImages(manifest, store, cache)
    for sample in samples:
        assert sharded.data(sample) == (place.data / sample.path).read_bytes()


@pytest.mark.parametrize(
    "value", ["shards", "s3://", "s3://key:secret@bucket/x", "filecache::s3://bucket/x", "a b://c"]
)
def test_the_setting_is_a_place_without_secrets(value: str) -> None:
    with pytest.raises(ConfigError, match="shards") as caught:
        load_config(environ={"EXPOSR_TRAINING__SHARDS": value})
    assert "secret" not in str(caught.value)
