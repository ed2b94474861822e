"""A line that cuts, delays, truncates and flips bits never brings a wrong byte, and most downloads still end well."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from fault_proxy import Fault, FaultProxy
from fault_run import run
from small_trainer import API_KEY, SmallTrainer

from exposr_client import ModelFollower, TrainerUnavailable
from exposr_client.following import flows

SIZE = 300_000


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "RETRY_SECONDS", 0.01)


def test_downloads_through_a_faulty_line_while_the_trainer_is_killed_and_publishes(tmp_path: Path) -> None:
    outcome = run(tmp_path, downloads=40, size=SIZE)
    assert outcome.wrong == []
    assert outcome.good + sum(outcome.errors.values()) == 40
    assert outcome.good > 0
    assert outcome.faults.total() >= 5


class CutAfter(FaultProxy):
    """Every connection is cut after so many bytes."""

    def __init__(self, target_port: int, after_bytes: int) -> None:
        super().__init__(target_port)
        self.after_bytes = after_bytes

    def _draw(self) -> Fault:
        return Fault("reset", self.after_bytes)


def test_a_cut_download_goes_on_where_it_was_cut(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    weights = bytes(range(256)) * (SIZE // 256)
    small_trainer.publish("v1", {"weights.pt": weights, "model.json": b"{}"})
    port = int(small_trainer.url.rpartition(":")[2])
    with CutAfter(port, 100_000) as proxy, ModelFollower(proxy.url, API_KEY, tmp_path, events=False) as follower:
        assert follower.download().read_bytes() == weights
    starts = [int(found.removeprefix("bytes=").rstrip("-")) for found in small_trainer.ranges if found]
    assert starts == sorted(starts)
    assert starts[0] > 0


def test_a_new_process_goes_on_with_what_a_dead_one_left(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    weights = b"0123456789" * (SIZE // 10)
    small_trainer.publish("v1", {"weights.pt": weights, "model.json": b"{}"})
    parts = tmp_path / "parts"
    parts.mkdir()
    left = parts / f"{hashlib.sha256(weights).hexdigest()}.dead.part"
    left.write_bytes(weights[:123_456])
    with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
        assert follower.download().read_bytes() == weights
    assert "bytes=123456-" in small_trainer.ranges
    assert list(parts.iterdir()) == []


@pytest.mark.parametrize("left", [b"wrong" * 20_000, b"wrong" * 60_000, b"wrong" * 90_000])
def test_a_part_with_wrong_bytes_costs_a_download_and_nothing_else(
    small_trainer: SmallTrainer, tmp_path: Path, left: bytes
) -> None:
    weights = b"0123456789" * (SIZE // 10)
    small_trainer.publish("v1", {"weights.pt": weights, "model.json": b"{}"})
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f"{hashlib.sha256(weights).hexdigest()}.dead.part").write_bytes(left)
    with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
        assert follower.download().read_bytes() == weights


@pytest.mark.parametrize("told", ["bytes 0-9/10", "bytes 5-9/300000", "bytes */300000", "nonsense"])
def test_a_resume_that_is_answered_with_other_bytes_begins_anew(
    small_trainer: SmallTrainer, tmp_path: Path, told: str
) -> None:
    weights = b"0123456789" * (SIZE // 10)
    small_trainer.publish("v1", {"weights.pt": weights, "model.json": b"{}"})
    small_trainer.wrong_content_range = told
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f"{hashlib.sha256(weights).hexdigest()}.dead.part").write_bytes(weights[:123_456])
    with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
        assert follower.download().read_bytes() == weights
    assert small_trainer.ranges[-2:] == ["bytes=123456-", ""]


def test_a_line_that_brings_nothing_is_a_clear_error_and_the_bytes_stay_for_later(
    small_trainer: SmallTrainer, tmp_path: Path
) -> None:
    weights = bytes(SIZE)
    small_trainer.publish("v1", {"weights.pt": weights, "model.json": b"{}"})
    port = int(small_trainer.url.rpartition(":")[2])
    with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
        info = follower.check()
    with (
        CutAfter(port, 5_000) as proxy,
        ModelFollower(proxy.url, API_KEY, tmp_path, events=False) as follower,
        pytest.raises(TrainerUnavailable),
    ):
        follower.download(info)
    assert len(list((tmp_path / "parts").iterdir())) == 1
    with ModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
        assert follower.download(info).read_bytes() == weights
    assert small_trainer.ranges[-1].startswith("bytes=")


def test_stop_ends_a_download_and_a_follow_that_wait_for_a_silent_trainer(tmp_path: Path) -> None:
    with ModelFollower("http://127.0.0.1:9", API_KEY, tmp_path, poll_seconds=3600) as follower:
        thread = threading.Thread(target=follower.follow, args=(print,), daemon=True)
        thread.start()
        threading.Event().wait(0.2)
        follower.stop()
        thread.join(10)
        assert not thread.is_alive()
