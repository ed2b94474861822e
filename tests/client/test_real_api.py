"""Followers against the service's own API, registry and signatures."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_trainer import RealTrainer
from small_trainer import API_KEY
from versions import make_files

from exposr_client import (
    AsyncModelFollower,
    AuthError,
    Detector,
    ModelFollower,
    NoModelError,
    RollbackError,
    VersionGoneError,
)


@pytest.fixture
def real_trainer(tmp_path: Path) -> Iterator[RealTrainer]:
    with RealTrainer(tmp_path) as trainer:
        yield trainer


def test_check_download_roll_back(real_trainer: RealTrainer, tmp_path: Path) -> None:
    with ModelFollower(real_trainer.url, API_KEY, tmp_path / "cache", events=False) as follower:
        assert follower.check() is None
        with pytest.raises(NoModelError):
            follower.download()
        versions = {"v1": make_files("v1"), "v2": make_files("v2")}
        for version, files in versions.items():
            assert real_trainer.publish(files) == version
            info = follower.check()
            assert info is not None
            assert info.version == version
            assert follower.download(info).read_bytes() == files["weights.pt"]
            assert follower.check() is None
        real_trainer.rollback()
        weights = follower.download()
        assert weights.read_bytes() == versions["v1"]["weights.pt"]
        assert Detector(weights).version == "v1"


def test_a_promotion_back_and_forth_is_followed_and_a_lost_registry_is_noticed(
    real_trainer: RealTrainer, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    real_trainer.publish({"weights.pt": b"1", "model.json": b"{}"})
    real_trainer.publish({"weights.pt": b"2", "model.json": b"{}"})
    with ModelFollower(real_trainer.url, API_KEY, cache, events=False) as follower:
        for version in ("v1", "v2", "v1"):
            assert real_trainer.models.promote("vit", version).accepted
            assert follower.download().read_bytes() == version[1:].encode()
    with RealTrainer(tmp_path / "other") as other:
        other.publish({"weights.pt": b"x", "model.json": b"{}"})
        key = real_trainer.public_key_file.read_bytes()
        with ModelFollower(other.url, API_KEY, cache, public_key=key, events=False) as follower:
            with pytest.raises(Exception, match="pinned is"):
                follower.check()
            assert follower.current() is not None


def test_a_serial_that_went_back_is_a_rollback(real_trainer: RealTrainer, tmp_path: Path) -> None:
    real_trainer.publish({"weights.pt": b"1", "model.json": b"{}"})
    old = real_trainer.models.pointer()
    real_trainer.publish({"weights.pt": b"2", "model.json": b"{}"})
    with ModelFollower(real_trainer.url, API_KEY, tmp_path / "cache", events=False) as follower:
        follower.download()
        real_trainer.models.pointer = lambda: old  # type: ignore[method-assign]
        with pytest.raises(RollbackError):
            follower.check()


def test_a_wrong_key_and_a_version_that_was_removed(real_trainer: RealTrainer, tmp_path: Path) -> None:
    real_trainer.publish({"weights.pt": b"1", "model.json": b"{}"})
    with ModelFollower(real_trainer.url, "wrong", tmp_path / "a") as follower, pytest.raises(AuthError):
        follower.check()
    with ModelFollower(real_trainer.url, API_KEY, tmp_path / "b") as follower:
        info = follower.check()
        (real_trainer.config.storage.models_path / "vit" / "v1" / "weights.pt").unlink()
        with pytest.raises(VersionGoneError):
            follower.download(info)


def test_a_cut_download_is_resumed(real_trainer: RealTrainer, tmp_path: Path) -> None:
    weights = bytes(range(256)) * 4000
    real_trainer.publish({"weights.pt": weights, "model.json": b"{}"})
    with ModelFollower(real_trainer.url, API_KEY, tmp_path / "cache", events=False) as follower:
        info = follower.check()
        assert info is not None
        parts = tmp_path / "cache" / "parts"
        (parts / f"{info.files['weights.pt'].sha256}.dead.part").write_bytes(weights[:500_000])
        assert follower.download(info).read_bytes() == weights


def test_an_announcement_reaches_both_followers(real_trainer: RealTrainer, tmp_path: Path) -> None:
    seen: list[str] = []
    both = threading.Barrier(3)

    def take(weights: Path) -> None:
        seen.append(weights.read_text())
        both.wait(20)

    async def follow_async() -> None:
        async with AsyncModelFollower(real_trainer.url, API_KEY, tmp_path / "a", poll_seconds=3600) as follower:
            following = asyncio.create_task(follower.follow(take))
            while len(seen) < 2 or both.n_waiting:
                await asyncio.sleep(0.01)
            follower.stop()
            await following

    with ModelFollower(real_trainer.url, API_KEY, tmp_path / "b", poll_seconds=3600) as follower:
        threads = [
            threading.Thread(target=follower.follow, args=(take,), daemon=True),
            threading.Thread(target=lambda: asyncio.run(follow_async()), daemon=True),
        ]
        for thread in threads:
            thread.start()
        while real_trainer.listeners < 2:
            threading.Event().wait(0.01)
        real_trainer.publish({"weights.pt": b"new", "model.json": b"{}"})
        both.wait(20)
        follower.stop()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    assert seen == ["new", "new"]


def test_a_promotion_and_a_roll_back_reach_a_listening_follower_at_once(
    real_trainer: RealTrainer, tmp_path: Path
) -> None:
    """With a poll an hour away, only the announcement can tell it."""
    for number in (b"1", b"2", b"3"):
        real_trainer.publish({"weights.pt": number, "model.json": b"{}"})
    handed: queue.Queue[bytes] = queue.Queue()
    with ModelFollower(real_trainer.url, API_KEY, tmp_path / "cache", poll_seconds=3600) as follower:
        following = threading.Thread(
            target=follower.follow, args=(lambda weights: handed.put(weights.read_bytes()),), daemon=True
        )
        following.start()
        assert handed.get(timeout=20) == b"3"
        while not real_trainer.listeners:
            time.sleep(0.01)
        assert real_trainer.models.promote("vit", "v1").accepted
        assert handed.get(timeout=20) == b"1"
        assert real_trainer.models.rollback("vit").accepted
        assert handed.get(timeout=20) == b"3"
        follower.stop()
        following.join(10)
