"""The order in which the service's parts start."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from daemon import supervisor
from drawn_pictures import write_pictures
from exposr_api.transport.server import ApiServer
from handlers.dataset import Dataset
from utils.clock import SystemClock
from utils.config_loader import load_config

totals: list[int] = []


class EagerClient(ApiServer):
    """Is asked as soon as it answers; then the service is ended."""

    def start(self) -> None:
        super().start()
        answer = httpx.get(f"{self.address}/status", trust_env=False, timeout=20).json()
        totals.append(answer["dataset_counts"]["total"])
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_first_answer_has_the_counts_of_the_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {f"EXPOSR_STORAGE__{name}_PATH": str(tmp_path / name) for name in ("LOCAL", "MODELS", "STATE")}
    config = load_config(environ={**paths, "EXPOSR_API__PORT": "0", "EXPOSR_STORAGE__MIN_FREE_GB": "0"})
    write_pictures(tmp_path / "LOCAL/real", 3)
    dataset = Dataset(config, SystemClock())
    dataset.start()
    deadline = time.monotonic() + 30
    while dataset.counts().total < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    dataset.stop()
    monkeypatch.setattr(supervisor, "ApiServer", EagerClient)
    supervisor.Supervisor(config, lambda: config).run()
    assert totals == [3]
