"""The service as a process of its own, driven over its API, as an operator has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

KEY = "test_api_key"
START_SECONDS = 40.0


class ServiceProcess:
    """`start`, `stop` and `kill` as often as wanted, always on the same folders."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "datasets"
        self.models = folder / "models"
        self.state = folder / "state"
        self.log = folder / "service.log"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EXPOSR_")},
            "EXPOSR_STORAGE__LOCAL_PATH": str(self.data),
            "EXPOSR_STORAGE__MODELS_PATH": str(self.models),
            "EXPOSR_STORAGE__STATE_PATH": str(self.state),
            "EXPOSR_STORAGE__MIN_FREE_GB": "0",
            "EXPOSR_API__PORT": "0",
            "TRAINER_API_KEY": KEY,
            **(settings or {}),
        }
        self.prefix: tuple[str, ...] = ()  # of the command: a program that becomes the service
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-P", "-m", "daemon", "serve"],
                env=self.environ,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._is_serving, START_SECONDS, lambda: f"the service did not start: {self.log.read_text()}")

    def _is_serving(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            holder = json.loads((self.state / "lock").read_text())
            self.url = holder["address"] or ""
            return holder["pid"] == self.process.pid and self.get("/health")["status"] != "starting"
        except (OSError, ValueError, httpx.HTTPError):
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, headers=self.headers, timeout=10, trust_env=False).json()

    def post(self, path: str) -> httpx.Response:
        return httpx.post(self.url + path, headers=self.headers, timeout=10, trust_env=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}"}

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.get("/status")["dataset_counts"]
        return counts

    def wait_for_counts(self, seconds: float = 20.0, **expected: int) -> None:
        def reached() -> bool:
            counts = self.counts()
            return all(counts[name] == number for name, number in expected.items())

        wait_until(reached, seconds, lambda: f"{self.counts()} instead of {expected}: {self.log.read_text()[-3000:]}")

    def wait_for_run(self, run_id: str, seconds: float = 240.0) -> Mapping[str, Any]:
        wait_until(
            lambda: self.get(f"/runs/{run_id}")["ended"] is not None, seconds, lambda: str(self.get(f"/runs/{run_id}"))
        )
        run: Mapping[str, Any] = self.get(f"/runs/{run_id}")
        return run


def wait_until(reached: Callable[[], bool], seconds: float, complaint: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise AssertionError(complaint())
        time.sleep(0.05)
