"""The real service as a process of its own, asked over HTTP: what the measurements of a running service share."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

KEY = "a-key-for-measurements-only-0123456789"
WAIT_SECONDS = 900.0
END_SECONDS = 30.0


class Service:
    """On the folders `datasets`, `models` and `state` of one folder. `settings` are environment variables."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.folder, self.data, self.state = folder, folder / "datasets", folder / "state"
        paths = {"LOCAL": self.data, "MODELS": folder / "models", "STATE": self.state}
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EXPOSR_")},
            **{f"EXPOSR_STORAGE__{name}_PATH": str(path) for name, path in paths.items()},
            **{"EXPOSR_STORAGE__MIN_FREE_GB": "0", "EXPOSR_API__PORT": "0", "TRAINER_API_KEY": KEY},
            **(settings or {}),
        }
        self.client = httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=60)
        self.url = ""
        self.process: psutil.Popen | None = None

    def start(self) -> None:
        """Until the API answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "service.log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "daemon", "serve"]
            self.process = psutil.Popen(command, env=self.environ, cwd=self.folder, stdout=log, stderr=log)
        wait_for(self._is_answering)

    def end(self) -> None:
        if self.process is not None and self.process.is_running():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_SECONDS)
            except psutil.TimeoutExpired:
                self.process.kill()

    def get(self, path: str) -> Any:
        return self.client.get(self.url + path).json()

    def post(self, path: str) -> httpx.Response:
        return self.client.post(self.url + path)

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.get("/status")["dataset_counts"]
        return counts

    def total(self) -> int:
        return self.counts()["total"]

    def processor_seconds(self) -> float:
        """Its own and that of its ended children; not of the checkers that run."""
        assert self.process is not None
        times = self.process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def memory_mb(self) -> tuple[float, float]:
        """Resident now, and at the peak."""
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        now, peak = (int(text.split(name)[1].split()[0]) / 1e3 for name in ("VmRSS:", "VmHWM:"))
        return now, peak

    def _is_answering(self) -> bool:
        assert self.process is not None
        if not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE:
            raise SystemExit(f"the service ended: {(self.folder / 'service.log').read_text()[-2000:]}")
        try:
            holder = json.loads((self.state / "lock").read_text())
            self.url = holder["address"] or ""
            return bool(holder["pid"] == self.process.pid and self.url and self.client.get(f"{self.url}/status"))
        except (OSError, ValueError, httpx.HTTPError):
            return False


def wait_for(condition: Callable[[], bool], every: float = 0.005) -> None:
    """Asking costs the service processor time, too: what takes long is asked for less often."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("did not come true")
        time.sleep(every)


def disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
