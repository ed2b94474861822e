"""Several followers on one cache folder: one downloads, the others wait for it, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from small_trainer import API_KEY, SmallTrainer

from exposr_client import ModelFollower
from exposr_client.downloads.cache import Cache
from exposr_client.following.flows import STALLED_SECONDS, Plan, _turn
from exposr_client.following.steps import Do, Pause

FILES = {"weights.pt": b"0123456789" * 30_000, "model.json": b"{}"}


def test_three_followers_download_a_version_once(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    small_trainer.publish("v1", FILES)
    small_trainer.file_seconds = 0.3
    found: list[bytes] = []

    def download() -> None:
        with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
            found.append(follower.download().read_bytes())

    threads = [threading.Thread(target=download) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [FILES["weights.pt"]] * 3
    asked = Counter(path for path, _ in small_trainer.requests if path.startswith("/models/vit/"))
    assert asked == {"/models/vit/v1/weights.pt": 1, "/models/vit/v1/model.json": 1}


def test_who_waits_goes_on_when_the_other_one_ends(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    small_trainer.publish("v1", FILES)
    with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
        info = follower.check()
        assert info is not None
        lock = Cache(tmp_path, keep=3).begin_filling(info)
        assert lock is not None
        assert Cache(tmp_path, keep=3).begin_filling(info) is None
        waiting = threading.Thread(target=follower.download, args=(info,))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        lock.close()  # as the kernel does when its process dies
        waiting.join(20)
        assert not waiting.is_alive()
        assert follower.current() is not None


def test_nobody_waits_for_one_that_stands_still(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    small_trainer.publish("v1", FILES)
    with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
        info = follower.check()
    assert info is not None
    cache = Cache(tmp_path, keep=3)
    lock = cache.begin_filling(info)
    assert lock is not None
    with lock, contextlib.closing(cache.open_part(info.files["weights.pt"])) as part:
        now = [0.0]
        turn = _turn(Plan(Cache(tmp_path, keep=3), None, 30.0, monotonic=lambda: now[0]), info)
        waited = 0.0
        step: Any = next(turn)
        try:
            while True:
                result = step.work() if isinstance(step, Do) else None
                if isinstance(step, Pause):
                    now[0] += 10
                    waited += 10
                    if waited < 50:
                        part.write(b"0123456789")  # it moves on for a while
                step = turn.send(result)
        except StopIteration as end:
            assert end.value is None  # without the right, and not without the version
        assert STALLED_SECONDS + 40 <= waited <= STALLED_SECONDS + 70
