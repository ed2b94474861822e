"""Followers of several processes on one cache: killed, with two keys at once, with wrong clocks, and on a full disk."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from failing_calls import Fault, is_available, run
from selection import ALL
from small_trainer import API_KEY, SmallTrainer

from exposr_client import ExpiredError, ModelFollower
from exposr_client.following.flows import utc_now

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 if ALL else 60)]

DAY = 24 * 3600.0
DISK_FAULTS = [(error, lasting) for error in (errno.EROFS, errno.ENOSPC, errno.EIO) for lasting in (True, False)]
FOLLOWS = """
import sys
from exposr_client import ModelFollower
url, key, cache, last = sys.argv[1:]
with ModelFollower(url, key, cache, events=False, poll_seconds=0.05) as follower:
    while True:
        info = follower.check()
        weights = follower.download(info) if info else follower.current()
        if weights:
            print(weights.parent.name.split("-")[1], len(weights.read_bytes()), flush=True)
            if weights.parent.name.split("-")[1] == last:
                break
"""


def files(version: int) -> dict[str, bytes]:
    return {"weights.pt": f"weights of v{version} ".encode() * (20_000 + version), "model.json": b"{}"}


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[SmallTrainer]:
    with SmallTrainer(tmp_path / "published") as made:
        yield made


def start(trainer: SmallTrainer, cache: Path, last: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FOLLOWS, trainer.url, API_KEY, str(cache), last], stdout=subprocess.PIPE, text=True
    )


def test_processes_that_share_a_cache_agree_whichever_is_killed(trainer: SmallTrainer, tmp_path: Path) -> None:
    rounds = 20 if ALL else 1
    trainer.publish("v1", files(1))
    trainer.file_seconds = 0.05
    last = f"v{rounds + 1}"
    followers = [start(trainer, tmp_path / "cache", last) for _ in range(2)]
    for number in range(rounds):
        victim = start(trainer, tmp_path / "cache", "never")
        assert victim.stdout is not None
        victim.stdout.readline()
        trainer.publish(f"v{number + 2}", files(number + 2))
        time.sleep(random.random() * 0.2)
        victim.kill()
        victim.wait()
        victim.stdout.close()
    for follower in followers:
        told, _ = follower.communicate(timeout=60)
        assert follower.returncode == 0
        seen = [line.split() for line in told.splitlines()]
        numbers = [int(name[1:]) for name, _ in seen]
        assert numbers == sorted(numbers)  # never back
        assert all(int(size) == len(files(int(name[1:]))["weights.pt"]) for name, size in seen)
    downloads = Counter(path for path, status in trainer.requests if path.endswith("weights.pt") and status == 200)
    assert max(downloads.values()) <= 3  # a killed one's is begun again by another


def test_while_a_key_is_replaced_each_follower_keeps_what_its_key_has_signed(
    trainer: SmallTrainer, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    old_key = trainer.public_pem()
    trainer.publish("v1", files(1))
    with ModelFollower(trainer.url, API_KEY, cache, public_key=old_key, events=False) as old:
        weights = old.download()
        made_anew = SmallTrainer(tmp_path)
        trainer.key, trainer.serial = made_anew.key, 0
        age(weights.parent, 2 * DAY)
        with ModelFollower(trainer.url, API_KEY, cache, public_key=trainer.public_pem(), events=False) as new:
            for number in (2, 3, 4, 5, 6):
                trainer.publish(f"v{number}", files(number))
                assert new.download().read_bytes() == files(number)["weights.pt"]
            assert old.current() == weights
            assert weights.read_bytes() == files(1)["weights.pt"]
            for note in cache.glob("*/accepted/*.json"):  # the old key has long been out of use
                if note.parents[1].name == old_key_folder(cache, new):
                    age(note, 8 * DAY)
            trainer.publish("v7", files(7))
            new.download()
            assert not weights.exists()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def old_key_folder(cache: Path, new: ModelFollower) -> str:
    assert new._plan.pinned is not None
    [folder] = {path.parents[0].name for path in cache.glob("*/accepted")} - {new._plan.pinned.key_id[:16]}
    return folder


@pytest.mark.parametrize("hours", [-24 * 400, -6, 71])
def test_a_clock_that_is_wrong_within_the_validity_changes_nothing(
    trainer: SmallTrainer, tmp_path: Path, hours: int
) -> None:
    trainer.publish("v1", files(1))
    with skewed(trainer, tmp_path / "cache", hours) as follower:
        assert follower.download().read_bytes() == files(1)["weights.pt"]
        trainer.publish("v2", files(2))
        assert follower.download().read_bytes() == files(2)["weights.pt"]


def test_a_clock_that_is_days_ahead_is_said_and_the_last_version_stays(trainer: SmallTrainer, tmp_path: Path) -> None:
    trainer.publish("v1", files(1))
    with skewed(trainer, tmp_path / "cache", 0) as follower:
        weights = follower.download()
    trainer.publish("v2", files(2))
    with skewed(trainer, tmp_path / "cache", 73) as follower:
        with pytest.raises(ExpiredError, match="a clock is wrong"):
            follower.check()
        assert follower.current() == weights
    with skewed(trainer, tmp_path / "cache", 0) as follower:
        assert follower.download().read_bytes() == files(2)["weights.pt"]


def skewed(trainer: SmallTrainer, cache: Path, hours: int) -> ModelFollower:
    follower = ModelFollower(trainer.url, API_KEY, cache, events=False)
    follower._plan = replace(follower._plan, now=lambda: utc_now() + timedelta(hours=hours))
    return follower


@pytest.mark.skipif(not is_available(), reason="needs seccomp's user notification on x86_64")
@pytest.mark.parametrize(("error", "lasting"), DISK_FAULTS if ALL else DISK_FAULTS[:1])
def test_a_cache_whose_disk_fails_keeps_the_last_version(
    trainer: SmallTrainer, tmp_path: Path, error: int, lasting: bool
) -> None:
    trainer.publish("v1", files(1))
    with ModelFollower(trainer.url, API_KEY, tmp_path / "start", events=False) as follower:
        follower.download()
    trainer.publish("v2", files(2))

    def download(cache: Path) -> None:
        with ModelFollower(trainer.url, API_KEY, cache, events=False) as follower:
            follower.download()

    shutil.copytree(tmp_path / "start", tmp_path / "counted")
    calls = run(tmp_path / "counted", lambda: download(tmp_path / "counted"), Fault(error, 1 << 60)).calls
    assert calls >= 10
    for first in range(1, calls + 1) if ALL else (1, calls // 2):
        cache = tmp_path / f"failed{first}"
        shutil.copytree(tmp_path / "start", cache)
        seen = run(cache, lambda cache=cache: download(cache), Fault(error, first, lasting))  # type: ignore[misc]
        assert not seen.raised or "CacheError" in seen.kind.split(), (first, seen)
        with ModelFollower(trainer.url, API_KEY, cache, events=False) as follower:
            current = follower.current()
            assert current is not None, (first, seen)
            assert current.read_bytes() in (files(1)["weights.pt"], files(2)["weights.pt"])
            assert follower.download().read_bytes() == files(2)["weights.pt"]
        shutil.rmtree(cache)
