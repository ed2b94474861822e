"""follow(): announcements, polling, restarts, failing versions, several processes on one cache."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_trainer import API_KEY, SmallTrainer

from exposr_client import FollowerStopped, ModelFollower

V1 = {"weights.pt": b"weights of v1 " * 9000, "model.json": b"{}"}
V2 = {"weights.pt": b"weights of v2 " * 9000, "model.json": b"{}"}
V3 = {"weights.pt": b"weights of v3 " * 9000, "model.json": b"{}"}


class Taken:
    """Collects what is handed over; raises on versions that are called bad."""

    def __init__(self, *bad: dict[str, bytes]) -> None:
        self.seen: list[bytes] = []
        self._bad = [files["weights.pt"] for files in bad]
        self._changed = threading.Condition()

    def __call__(self, weights: Path) -> None:
        with self._changed:
            self.seen.append(weights.read_bytes())
            self._changed.notify_all()
        if self.seen[-1] in self._bad:
            raise RuntimeError("this model does not load")

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, 20)


@contextmanager
def following(url: str, cache: Path, taken: Callable[[Path], None], **options: Any) -> Iterator[None]:
    with ModelFollower(url, API_KEY, cache, **options) as follower:
        thread = threading.Thread(target=follower.follow, args=(taken,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            follower.stop()
            thread.join(10)
            assert not thread.is_alive()


def test_polling_hands_over_each_version_once(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    taken = Taken()
    with following(small_trainer.url, tmp_path, taken, events=False, poll_seconds=0.05):
        small_trainer.publish("v1", V1)
        taken.wait_for(1)
        small_trainer.publish("v2", V2)
        taken.wait_for(2)
        small_trainer.point("v1", V1)
        taken.wait_for(3)
    assert taken.seen == [V1["weights.pt"], V2["weights.pt"], V1["weights.pt"]]


def test_an_announcement_is_enough(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    taken = Taken()
    with following(small_trainer.url, tmp_path, taken, poll_seconds=3600):
        while ("/events", 200) not in small_trainer.requests:
            threading.Event().wait(0.01)
        small_trainer.publish("v1", V1)
        taken.wait_for(1)


def test_a_restart_begins_with_the_cache_while_the_trainer_is_away(tmp_path: Path) -> None:
    with SmallTrainer(tmp_path / "published") as trainer:
        trainer.publish("v1", V1)
        with ModelFollower(trainer.url, API_KEY, tmp_path / "cache") as follower:
            follower.download()
    taken = Taken()
    with following(trainer.url, tmp_path / "cache", taken, poll_seconds=0.05):
        taken.wait_for(1)
    assert taken.seen == [V1["weights.pt"]]


def test_a_trainer_that_comes_back_is_followed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    taken = Taken()
    with SmallTrainer(tmp_path / "published") as trainer:
        trainer.publish("v1", V1)
        follower = ModelFollower(trainer.url, API_KEY, tmp_path / "cache", poll_seconds=0.05)
        port = int(trainer.url.rpartition(":")[2])
        thread = threading.Thread(target=follower.follow, args=(taken,), daemon=True)
        thread.start()
        taken.wait_for(1)
    with caplog.at_level(logging.INFO, "exposr_client"), SmallTrainer(tmp_path / "published", port) as again:
        again.key, again.serial = trainer.key, trainer.serial
        again.publish("v2", V2)
        taken.wait_for(2)
    follower.close()
    thread.join(10)
    assert taken.seen == [V1["weights.pt"], V2["weights.pt"]]


def test_a_version_that_fails_is_skipped_once_and_the_next_one_taken(
    small_trainer: SmallTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken = Taken(V2)
    small_trainer.publish("v1", V1)
    with following(small_trainer.url, tmp_path, taken, events=False, poll_seconds=0.02):
        taken.wait_for(1)
        small_trainer.publish("v2", V2)
        taken.wait_for(2)
        polls = len(small_trainer.requests)
        while len(small_trainer.requests) < polls + 5:
            threading.Event().wait(0.01)
        small_trainer.publish("v3", V3)
        taken.wait_for(3)
    assert taken.seen == [files["weights.pt"] for files in (V1, V2, V3)]
    assert "skipping vit/v2" in caplog.text


def test_a_restart_falls_back_to_an_older_version_that_loads(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
        for version, files in (("v1", V1), ("v2", V2)):
            small_trainer.publish(version, files)
            follower.download()
    taken = Taken(V2)
    with following(small_trainer.url, tmp_path, taken, events=False, poll_seconds=0.02):
        taken.wait_for(2)
        polls = len(small_trainer.requests)
        while len(small_trainer.requests) < polls + 5:
            threading.Event().wait(0.01)
    assert taken.seen == [V2["weights.pt"], V1["weights.pt"]]


def test_what_another_process_downloaded_is_handed_over_too(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    taken = Taken()
    small_trainer.publish("v1", V1)
    with (
        following(small_trainer.url, tmp_path, taken, events=False, poll_seconds=0.05),
        ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as other,
    ):
        taken.wait_for(1)
        small_trainer.publish("v2", V2)
        other.download()
        taken.wait_for(2)


def test_stop_before_follow_ends_it_at_once(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    with ModelFollower(small_trainer.url, API_KEY, tmp_path) as follower:
        follower.stop()
        follower.follow(print)
        with pytest.raises(FollowerStopped):
            follower.check()


FOLLOWER_PROCESS = """
import sys
from exposr_client import ModelFollower
with ModelFollower(sys.argv[1], cache_dir=sys.argv[2], poll_seconds=0.2, events=False) as follower:
    follower.follow(lambda weights: print(weights.read_bytes()[:13].decode(), flush=True))
"""


@pytest.fixture
def environment() -> dict[str, str]:
    return os.environ | {"EXPOSR_TRAINER_API_KEY": API_KEY}


def test_a_follower_in_its_own_process_sees_a_new_version(
    small_trainer: SmallTrainer, tmp_path: Path, environment: dict[str, str]
) -> None:
    small_trainer.publish("v1", V1)
    command = [sys.executable, "-P", "-c", FOLLOWER_PROCESS, small_trainer.url, str(tmp_path / "cache")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "weights of v1\n"
            small_trainer.publish("v2", V2)
            polls_before = len(small_trainer.requests)
            assert process.stdout.readline() == "weights of v2\n"
            # one poll and the two files: not a second poll was needed
            assert [path for path, _ in small_trainer.requests[polls_before:]].count("/models/pointer") <= 2
        finally:
            process.terminate()


def test_many_followers_on_one_cache_download_safely(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    small_trainer.publish("v1", V1)
    followers = [ModelFollower(small_trainer.url, API_KEY, tmp_path / "cache", events=False) for _ in range(8)]
    for version, files in (("v1", V1), ("v2", V2), ("v3", V3)):
        small_trainer.publish(version, files)
        with ThreadPoolExecutor(8) as pool:
            paths = set(pool.map(lambda follower: follower.download(), followers))
        assert len(paths) == 1
        assert paths.pop().read_bytes() == files["weights.pt"]
    for follower in followers:
        follower.close()
    assert list((tmp_path / "cache" / "parts").iterdir()) == []


DOWNLOADER_PROCESS = """
import sys
from exposr_client import ModelFollower
with ModelFollower(sys.argv[1], cache_dir=sys.argv[2]) as follower:
    print(follower.download().read_bytes()[:13].decode())
"""


def test_several_processes_share_one_cache(
    small_trainer: SmallTrainer, tmp_path: Path, environment: dict[str, str]
) -> None:
    small_trainer.publish("v1", V1)
    command = [sys.executable, "-P", "-c", DOWNLOADER_PROCESS, small_trainer.url, str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in processes] == ["weights of v1\n"] * 4
    assert {process.returncode for process in processes} == {0}
